"""What makes a trainer a slice-selection trainer."""

import functools

from bodycomp_jax.metrics import figures, tissues
from bodycomp_jax.models import densenet
from bodycomp_jax.training import data_parallel
from bodycomp_jax.training.tasks import augment, losses, optim
from bodycomp_jax.training.tasks.task import Task


def task(config, *, devices, steps_per_epoch, val_set):
    """The `Task` that a `SliceSelectionConfig` describes.

    Args:
      config: the hyper-parameters.
      devices: to train on; they decide the precision where the config leaves it open.
      steps_per_epoch: on which the learning rate's schedule depends.
      val_set: a `SliceSelectionSet`; which slices belong to one series decides the metrics.
    """
    dtype = data_parallel.compute_dtype(config.precision, devices)
    schedule = optim.schedule(config.schedule, config.learning_rate, config.epochs, steps_per_epoch)
    truth = {
        'offsets': val_set.offsets,
        'series': val_set.series,
        'levels': config.levels,
        'threshold': config.threshold,
    }
    return Task(
        model=densenet.from_config(config, dtype=dtype, axis_name=data_parallel.AXIS),
        inputs=densenet.inputs,
        augment=augment.rotate_and_shift_slice if config.augment else lambda key, example: example,
        optimizer=optim.adam(schedule),
        loss_sums=functools.partial(losses.offset_sums, threshold=config.threshold),
        loss=losses.mean_absolute_error,
        metric_sums=functools.partial(
            tissues.offset_sums, n=len(val_set), threshold=config.threshold
        ),
        metrics=functools.partial(tissues.offset_metrics, **truth),
        headline={
            f'{name}_mm_{level}': f'{level} {label}'
            for level in config.levels
            for name, label in (('offset_error', 'slices, mm'), ('level_error', 'found, mm'))
        },
        pictured=0,  # the curves are made of the sums
        pictures=lambda sums, outputs, batch: figures.curves(sums['offset'], **truth),
        schedule=schedule,
        seed=config.seed,
    )
