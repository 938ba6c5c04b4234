"""Trains the network that predicts the distance of CT slices from vertebral levels such as L3."""

from bodycomp_jax.config import RunConfig, SliceSelectionConfig
from bodycomp_jax.data.dataset import Dataset, LevelledSet
from bodycomp_jax.data.slice_selection import open_sets
from bodycomp_jax.data.synthetic import slice_selection_sets
from bodycomp_jax.programs import restart
from bodycomp_jax.programs.trainer import run_trainer
from bodycomp_jax.runtime.files import existing_folder
from bodycomp_jax.runtime.pool import Pool
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.training.tasks.slice_selection import slice_selection_task


def main(argv: list[str]) -> None:
    run_trainer(
        argv,
        __doc__,
        SliceSelectionConfig,
        _open_sets,
        lambda config, devices, steps_per_epoch, val_set: slice_selection_task(
            config, devices=devices, steps_per_epoch=steps_per_epoch, val_set=val_set
        ),
    )


def _open_sets(
    settings: RunConfig, config: SliceSelectionConfig, run_dir: str, pool: Pool
) -> tuple[Dataset, LevelledSet]:
    files = None
    if settings.data_dir is not None:
        files = open_sets(
            settings.data_dir,
            config,
            existing_folder(run_dir),
            Terminal().track,
            check_values=settings.check_values,
        )
    return slice_selection_sets(files, config, pool.map)


if __name__ == '__main__':
    restart('train_slice_selection')
