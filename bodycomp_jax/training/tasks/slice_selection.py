"""The task of the slice-selection trainer."""

import functools
from collections.abc import Sequence
from typing import Any

import jax

from bodycomp_jax.config import SliceSelectionConfig
from bodycomp_jax.data.dataset import LevelledSet
from bodycomp_jax.metrics.figures import level_bytes, level_figures
from bodycomp_jax.metrics.levels import summarize_levels
from bodycomp_jax.models.build import build_network
from bodycomp_jax.runtime.devices import compute_dtype
from bodycomp_jax.training import data_parallel
from bodycomp_jax.training.tasks import augment, losses, optim
from bodycomp_jax.training.tasks.advice import slice_selection_advice
from bodycomp_jax.training.tasks.task import SummaryMetric, Task

LOSSES = {'mae': losses.mean_absolute_error, 'cross_entropy': losses.mean_divergence}


def slice_selection_task(
    config: SliceSelectionConfig,
    *,
    devices: Sequence[jax.Device],
    steps_per_epoch: int,
    val_set: LevelledSet,
) -> Task:
    """The task that a config describes.

    Args:
      config: the hyper-parameters.
      devices: to train on; they determine the precision if the config leaves it open.
      steps_per_epoch: for the learning rate schedule.
      val_set: its series decide the metrics.
    """
    network = config.network
    learning_rate_fn = optim.learning_rate_fn(config, steps_per_epoch)
    model = build_network(
        network,
        dtype=compute_dtype(config.precision, devices),
        axis_name=data_parallel.AXIS,
        platform=devices[0].platform,
    )
    truth: dict[str, Any] = {
        'offsets': val_set.offsets,
        'series': val_set.series,
        'levels': network.levels,
        'threshold': network.threshold,
    }
    return Task(
        model=model.clone(initializer=getattr(jax.nn.initializers, config.initializer)()),
        augment=augment.augmentation(
            config.augmentation, grey=True, black_outside=True, platform=devices[0].platform
        ),
        optimizer=optim.adam(learning_rate_fn),
        learning_rate_fn=learning_rate_fn,
        loss_sums=lambda logits, batch: losses.offset_sums(
            logits, batch['offset'], network.threshold
        ),
        loss=LOSSES[config.loss],
        example_metrics=lambda logits, batch: {'offset': network.threshold * logits},
        summarize=lambda examples: summarize_levels(examples['offset'], **truth),
        advice=functools.partial(slice_selection_advice, config=config),
        summary_metrics={
            f'{name}_mm_{level}': SummaryMetric(f'{level} {label} error', '{:.1f} mm')
            for level in network.levels
            for name, label in (('offset_error', 'offset'), ('level_error', 'position'))
        },
        num_figures=0,  # the curves are drawn from the example metrics
        draw_figures=lambda examples, outputs, batch: level_figures(examples['offset'], **truth),
        figure_bytes=lambda image_shape: level_bytes(len(val_set.series), len(network.levels)),
        seed=config.seed,
    )
