"""Trains the network that tells how far CT slices are from vertebral levels such as L3."""

from bodycomp_jax.config import SliceSelectionConfig
from bodycomp_jax.data.slice_selection import open_sets
from bodycomp_jax.runtime import flags, processes
from bodycomp_jax.training import metrics_log, train
from bodycomp_jax.training.tasks import slice_selection


def main(argv):
    run, config, run_dir, devices = flags.start(argv, __doc__, SliceSelectionConfig)
    with processes.agreed():
        cache_dir = flags.existing_folder(run_dir)
        train_set, val_set = open_sets(
            run.data_dir, config, cache_dir, metrics_log.Terminal().track
        )
    steps = config.steps_per_epoch(len(train_set))
    task = slice_selection.task(config, devices=devices, steps_per_epoch=steps, val_set=val_set)
    train.train(task, config, train_set, val_set, run_dir, devices, run)


if __name__ == '__main__':
    flags.run(main)
