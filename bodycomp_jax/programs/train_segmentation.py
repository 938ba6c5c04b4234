"""Trains the network that segments muscle, subcutaneous and visceral fat on CT slices."""

from bodycomp_jax.config import SegmentationConfig
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.programs.trainer import start
from bodycomp_jax.runtime import program
from bodycomp_jax.runtime.processes import sync_errors
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.training.run_spec import RunSpec
from bodycomp_jax.training.tasks.segmentation import segmentation_task
from bodycomp_jax.training.train import train


def main(argv: list[str]) -> None:
    settings, config, run_dir, devices, pretrained = start(argv, __doc__, SegmentationConfig)
    with sync_errors():
        train_set, val_set = open_sets(settings.data_dir, config)
    if not config.network.apply_window_function:
        Terminal().line('WARNING: no HU window: the images must already be grey values in 0..255')
    steps = config.steps_per_epoch(len(train_set))
    task = segmentation_task(config, devices=devices, steps_per_epoch=steps)
    spec = RunSpec(
        task=task,
        config=config,
        settings=settings,
        train_set=train_set,
        val_set=val_set,
        run_dir=run_dir,
        devices=devices,
    )
    train(spec, pretrained)


def run() -> None:
    program.run(main)


if __name__ == '__main__':
    run()
