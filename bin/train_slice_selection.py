"""Trains the network that tells how far CT slices are from vertebral levels such as L3."""

from bodycomp_jax import cli, cluster
from bodycomp_jax.config import SliceSelectionConfig
from bodycomp_jax.data.slice_selection import open_sets
from bodycomp_jax.training import logs, loop, slice_selection


def main(argv):
    run, config, run_dir, devices = cli.start(argv, __doc__, SliceSelectionConfig)
    with cluster.agreed():
        cache_dir = cli.existing_folder(run_dir)
        train_set, val_set = open_sets(run.data_dir, config, cache_dir, logs.Terminal().track)
    steps = config.steps_per_epoch(len(train_set))
    task = slice_selection.task(config, devices=devices, steps_per_epoch=steps, val_set=val_set)
    loop.train(task, config, train_set, val_set, run_dir, devices, run)


if __name__ == '__main__':
    cli.run(main)
