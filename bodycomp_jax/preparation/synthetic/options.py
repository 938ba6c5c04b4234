"""Options of the program that makes synthetic training sets."""

import dataclasses
from typing import Any

from bodycomp_jax.config import MAX_NETWORK_SIDE, as_flag, option, to_values
from bodycomp_jax.data.phantom import LEVELS
from bodycomp_jax.errors import InputError

SUBJECTS = 'Synthetic subjects'
MIN_SIDE = 32  # pixels
MIN_SPACING, MAX_SPACING = 0.5, 30.0  # mm; a vertebra has 30
MAX_SUBJECTS = 1_000_000
MAX_WORKERS = 1024
NOT_OF_SETS = ('output_dir', 'workers')  # which change no bit of the sets


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """How many subjects are drawn, how they are scanned, and where the sets are written."""

    output_dir: str = option(
        None,
        'folder for the training sets; a run that was killed continues; also the first '
        'positional argument',
        group='Input and output',
        positional=True,
        path=True,
    )
    dicom: bool = option(
        False,
        'write the subjects as DICOM series as well, with segmentations and the tables that the '
        'other programs read',
        group='Input and output',
    )
    workers: int | None = option(
        None, 'processes that draw (default: one per core)', group='Input and output'
    )
    subjects: int = option(100, 'number of subjects', group=SUBJECTS, short='n')
    size: int = option(512, 'rows and columns of the slices', group=SUBJECTS)
    slice_spacing: float = option(5.0, 'mm between the slices of a subject', group=SUBJECTS)
    slices: int = option(
        4,
        'slices of a subject for segmentation, drawn from those between L5 and L1',
        group=SUBJECTS,
    )
    levels: tuple[str, ...] = option(
        ('L3',),
        f'vertebral levels for slice selection, of {", ".join(LEVELS)}; may be repeated',
        group=SUBJECTS,
        short='L',
    )
    val_share: float = option(0.2, 'share of the subjects for validation', group=SUBJECTS)
    seed: int = option(0, 'of subjects and split; other seeds draw other subjects', group=SUBJECTS)

    def __post_init__(self) -> None:
        in_range = {
            'workers': self.workers is None or 0 < self.workers <= MAX_WORKERS,
            'subjects': 2 <= self.subjects <= MAX_SUBJECTS,
            'size': MIN_SIDE <= self.size <= MAX_NETWORK_SIDE,
            'slice_spacing': MIN_SPACING <= self.slice_spacing <= MAX_SPACING,
            'slices': self.slices > 0,
            'levels': 0 < len(self.levels) == len({*self.levels} & {*LEVELS}),
            'val_share': 0 < self.val_share < 1,
            'seed': self.seed >= 0,
        }
        wanted = {
            'workers': f'use a positive number, at most {MAX_WORKERS}',
            'subjects': f'use 2 to {MAX_SUBJECTS:,}',
            'size': f'use {MIN_SIDE} to {MAX_NETWORK_SIDE}',
            'slice_spacing': f'use {MIN_SPACING:g} to {MAX_SPACING:g} mm',
            'levels': f'name some of {", ".join(LEVELS)}, each once',
            'val_share': 'use a number above 0 and below 1',
            'seed': 'use 0 or more',
        }
        for name, fits in in_range.items():
            value = getattr(self, name)
            if not fits:
                remedy = wanted.get(name, 'use a positive number')
                raise InputError(f'invalid {as_flag(name, value)}: {remedy}')

    @property
    def of_sets(self) -> dict[str, Any]:
        """The options that decide the sets, as JSON values."""
        values = to_values(self)
        return {name: value for name, value in values.items() if name not in NOT_OF_SETS}
