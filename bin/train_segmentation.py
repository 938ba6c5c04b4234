"""Trains the network that labels muscle, subcutaneous and visceral fat on CT slices."""

from bodycomp_jax import cli, cluster
from bodycomp_jax.config import SegmentationConfig
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.training import loop, segmentation


def main(argv):
    run, config, run_dir, devices = cli.start(argv, __doc__, SegmentationConfig)
    with cluster.agreed():
        train_set, val_set = open_sets(run.data_dir, config)
    if not config.apply_window_function and cluster.is_first():
        print('WARNING: no HU window: the images must be grey values in 0..255 already')
    steps = config.steps_per_epoch(len(train_set))
    task = segmentation.task(config, devices=devices, steps_per_epoch=steps)
    loop.train(task, config, train_set, val_set, run_dir, devices, run)


if __name__ == '__main__':
    cli.run(main)
