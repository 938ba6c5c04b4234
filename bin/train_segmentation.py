"""Trains the network that labels muscle, subcutaneous and visceral fat on CT slices."""

from bodycomp_jax.config import SegmentationConfig
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.runtime import flags, processes
from bodycomp_jax.training import train
from bodycomp_jax.training.tasks import segmentation


def main(argv):
    run, config, run_dir, devices = flags.start(argv, __doc__, SegmentationConfig)
    with processes.agreed():
        train_set, val_set = open_sets(run.data_dir, config)
    if not config.apply_window_function and processes.is_first():
        print('WARNING: no HU window: the images must be grey values in 0..255 already')
    steps = config.steps_per_epoch(len(train_set))
    task = segmentation.task(config, devices=devices, steps_per_epoch=steps)
    train.train(task, config, train_set, val_set, run_dir, devices, run)


if __name__ == '__main__':
    flags.run(main)
