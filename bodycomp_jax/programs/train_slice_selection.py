"""Trains the network that predicts the distance of CT slices from vertebral levels such as L3."""

from bodycomp_jax.config import SliceSelectionConfig
from bodycomp_jax.data.slice_selection import open_sets
from bodycomp_jax.programs.trainer import start
from bodycomp_jax.runtime import program
from bodycomp_jax.runtime.files import existing_folder
from bodycomp_jax.runtime.processes import sync_errors
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.training.run_spec import RunSpec
from bodycomp_jax.training.tasks.slice_selection import slice_selection_task
from bodycomp_jax.training.train import train


def main(argv: list[str]) -> None:
    settings, config, run_dir, devices, pretrained = start(argv, __doc__, SliceSelectionConfig)
    with sync_errors():
        cache_dir = existing_folder(run_dir)
        train_set, val_set = open_sets(settings.data_dir, config, cache_dir, Terminal().track)
    steps = config.steps_per_epoch(len(train_set))
    task = slice_selection_task(config, devices=devices, steps_per_epoch=steps, val_set=val_set)
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
