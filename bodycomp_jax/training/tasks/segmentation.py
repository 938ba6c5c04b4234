"""The task of the segmentation trainer."""

import functools
from collections.abc import Sequence

import jax

from bodycomp_jax import ct
from bodycomp_jax.config import SegmentationConfig
from bodycomp_jax.metrics.figures import segmentation_bytes, segmentation_figures
from bodycomp_jax.metrics.tissues import summarize_tissues, tissue_areas
from bodycomp_jax.models.build import build_network
from bodycomp_jax.runtime.devices import compute_dtype
from bodycomp_jax.training import data_parallel
from bodycomp_jax.training.tasks import augment, losses, optim
from bodycomp_jax.training.tasks.advice import segmentation_advice
from bodycomp_jax.training.tasks.task import SummaryMetric, Task

NUM_FIGURES = 4  # validation slices
LOSSES = {'dice': losses.dice_loss, 'dice_ce': losses.dice_ce_loss}


def segmentation_task(
    config: SegmentationConfig, *, devices: Sequence[jax.Device], steps_per_epoch: int
) -> Task:
    """The task that a config describes.

    Args:
      config: the hyper-parameters.
      devices: to train on; they determine the precision if the config leaves it open.
      steps_per_epoch: for the learning rate schedule.
    """
    network = config.network
    learning_rate_fn = optim.learning_rate_fn(config, steps_per_epoch)
    model = build_network(
        network,
        dtype=compute_dtype(config.precision, devices),
        axis_name=data_parallel.AXIS,
        platform=devices[0].platform,
    )
    return Task(
        model=model,
        augment=augment.augmentation(
            config.augmentation,
            grey=not network.apply_window_function,
            platform=devices[0].platform,
        ),
        optimizer=optim.adam(learning_rate_fn),
        learning_rate_fn=learning_rate_fn,
        loss_sums=lambda logits, batch: losses.segmentation_sums(
            logits, model.labels_of(logits, batch['mask'])
        ),
        loss=LOSSES[config.loss],
        example_metrics=lambda logits, batch: tissue_areas(logits, batch['mask']),
        summarize=functools.partial(summarize_tissues, tissues=network.tissues),
        advice=functools.partial(segmentation_advice, config=config),
        summary_metrics={
            f'dice_{tissue}': SummaryMetric(f'Dice {ct.spaced(tissue)}', '{:.3f}')
            for tissue in network.tissues
        },
        num_figures=NUM_FIGURES,
        draw_figures=lambda areas, logits, batch: segmentation_figures(
            logits,
            batch['image'],
            batch['mask'],
            tissues=network.tissues,
            apply_window=network.apply_window_function,
        ),
        figure_bytes=functools.partial(segmentation_bytes, NUM_FIGURES),
        seed=config.seed,
    )
