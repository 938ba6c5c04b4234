"""Trains the network that segments muscle, subcutaneous and visceral fat on CT slices."""

from bodycomp_jax.config import RunConfig, SegmentationConfig
from bodycomp_jax.data.dataset import Dataset
from bodycomp_jax.data.prepared import determined_options
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.data.synthetic import segmentation_sets
from bodycomp_jax.programs import restart
from bodycomp_jax.programs.trainer import run_trainer
from bodycomp_jax.runtime.pool import Pool
from bodycomp_jax.training.tasks.segmentation import segmentation_task


def main(argv: list[str]) -> None:
    run_trainer(
        argv,
        __doc__,
        SegmentationConfig,
        _open_sets,
        lambda config, devices, steps_per_epoch, _: segmentation_task(
            config, devices=devices, steps_per_epoch=steps_per_epoch
        ),
        determined_options,
    )


def _open_sets(
    settings: RunConfig, config: SegmentationConfig, run_dir: str, pool: Pool
) -> tuple[Dataset, Dataset]:
    files = None
    if settings.data_dir is not None:
        files = open_sets(settings.data_dir, config, check_values=settings.check_values)
    return segmentation_sets(files, config, pool.map)


if __name__ == '__main__':
    restart('train_segmentation')
