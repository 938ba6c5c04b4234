"""What the benchmark measures, and on how much data."""

import dataclasses

from bodycomp_jax.benchmark.targets import TARGETS
from bodycomp_jax.config import check_positive, option
from bodycomp_jax.errors import InputError

INSTEAD_OF_TIMING = ('ahead_of_time', 'collectives', 'profile')


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What is measured, and on how much data. Raises InputError for invalid values."""

    ahead_of_time: str | None = option(
        None,
        'compile a training step for such a TPU or GPU, which need not be there, and print what '
        'XLA says of it, instead of timing',
        group='Benchmark',
        choices=tuple(TARGETS),
    )
    collectives: bool = option(
        False,
        'count what a training step sends between devices, instead of timing',
        group='Benchmark',
    )
    profile: str | None = option(
        None,
        'write a trace of a few training steps into this folder and print the ten operations '
        'that take longest, instead of timing',
        group='Benchmark',
        path=True,
    )
    json: bool = option(False, 'print one line of JSON instead of a table', group='Benchmark')
    image_size: int = option(512, 'pixels on each side of a slice', group='Benchmark')
    steps: int = option(10, 'steps per timed window', group='Benchmark')
    windows: int = option(5, 'timed windows; their median is reported', group='Benchmark')
    slices: int = option(256, 'slices in the dataset', group='Benchmark')
    num_gpus: int | None = option(
        None,
        'number of devices of this machine to use, or to compile for; counts TPU cores and CPU '
        'devices as well (default: all, or one to compile for)',
        group='Devices',
        short='g',
    )

    def __post_init__(self) -> None:
        check_positive(self, 'image_size', 'steps', 'windows', 'slices')
        given = [name for name in INSTEAD_OF_TIMING if getattr(self, name)]
        if len(given) > 1:
            raise InputError(
                f'--{given[0]} and --{given[1]} exclude each other; give one, then the other'
            )
