"""What makes a trainer a segmentation trainer."""

import functools

from bodycomp_jax.metrics import figures, tissues
from bodycomp_jax.models import unet
from bodycomp_jax.training import data_parallel
from bodycomp_jax.training.tasks import augment, losses, optim
from bodycomp_jax.training.tasks.task import Task

PICTURED = 4  # validation slices
LOSSES = {'dice': losses.dice, 'dice_ce': losses.dice_ce}


def task(config, *, devices, steps_per_epoch):
    """The `Task` that a `SegmentationConfig` describes.

    Args:
      config: the hyper-parameters.
      devices: to train on; they decide the precision where the config leaves it open.
      steps_per_epoch: on which the learning rate's schedule depends.
    """
    dtype = data_parallel.compute_dtype(config.precision, devices)
    schedule = optim.schedule(config.schedule, config.learning_rate, config.epochs, steps_per_epoch)
    return Task(
        model=unet.from_config(config, dtype=dtype, axis_name=data_parallel.AXIS),
        inputs=functools.partial(unet.inputs, apply_window=config.apply_window_function),
        augment=augment.rotate_and_shift if config.augment else lambda key, example: example,
        optimizer=optim.adam(schedule),
        loss_sums=losses.segmentation_sums,
        loss=LOSSES[config.loss],
        metric_sums=tissues.segmentation_sums,
        metrics=functools.partial(tissues.segmentation_metrics, tissues=config.tissues),
        headline={
            f'dice_{tissue}': f'Dice {tissue.replace("_", " ")}' for tissue in config.tissues
        },
        pictured=PICTURED,
        pictures=lambda sums, logits, batch: figures.segmentation(
            logits, batch, tissues=config.tissues, apply_window=config.apply_window_function
        ),
        schedule=schedule,
        seed=config.seed,
    )
