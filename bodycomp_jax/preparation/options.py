"""Options of the programs that prepare training sets."""

import dataclasses

from bodycomp_jax.config import as_flag, option
from bodycomp_jax.data.masks.labels import HU_LIMITS, HULimits
from bodycomp_jax.data.masks.options import CONVENTIONS, MaskOptions
from bodycomp_jax.data.masks.options import GROUP as LABELS
from bodycomp_jax.data.masks.vertebrae import LEVELS, NUMBERS
from bodycomp_jax.data.squares import refuse_invalid_size
from bodycomp_jax.errors import InputError
from bodycomp_jax.vertebrae import REFERENCES

WHICH = 'Cases and splits'


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparationConfig:
    """Where the cases are, how they are split, and what happens to those that cannot be used."""

    cases: str = option(
        None,
        'a table (CSV) with a row per scan, or the folder of nnU-Net raw data, of the data set of '
        'TotalSegmentator or of SAROS; also the first positional argument',
        group='Input and output',
        positional=True,
        path=True,
    )
    output_dir: str = option(
        None,
        'folder for the training set, new or empty; also the second positional argument',
        group='Input and output',
        positional=True,
        path=True,
    )
    allow_rejected: bool = option(
        False,
        'end with exit code 0 though some cases were left out, which rejected.csv lists',
        group='Input and output',
    )
    patient_ids: str = option(
        'hash',
        'how patients are named in the set; hash: by a part of the SHA-256 of their number, which '
        'hides it from readers but not from those who try all numbers; keep: as in the table',
        group='Input and output',
        choices=('hash', 'keep'),
    )
    val_share: float = option(
        0.2, 'share of the patients for validation, where no column says so', group=WHICH
    )
    test_share: float = option(
        0.0, 'share of the patients for a test set, where no column says so', group=WHICH
    )
    seed: int = option(0, 'seed of the split', group=WHICH)
    levels: tuple[str, ...] = option(
        ('L3',), 'vertebral levels, such as -L L3,T12; may be repeated', group=LABELS, short='L'
    )
    reference: str = option(
        'middle',
        'which point of a vertebra is the position of its level; middle: the mean of its voxels; '
        'inferior: the lower end of its body. Positions in the table must be of the same point',
        group=LABELS,
        choices=REFERENCES,
    )
    vertebra_numbers: str = option(
        'totalsegmentator',
        'the numbers of the vertebrae in masks without names: those of TotalSegmentator or VerSe',
        group=LABELS,
        choices=tuple(NUMBERS),
    )

    def __post_init__(self) -> None:
        shares = self.val_share, self.test_share
        if min(shares) < 0 or not sum(shares) <= 1:
            raise InputError(
                f'invalid --val_share={shares[0]:g} --test_share={shares[1]:g}: use shares of at '
                'least 0 that add up to at most 1'
            )
        levels = self.levels
        if not levels or len({*levels}) != len(levels) or not {*levels} <= {*LEVELS}:
            raise InputError(
                f'invalid {as_flag("levels", levels)}: name vertebrae such as L3 or T12, each once'
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationPreparation(MaskOptions, PreparationConfig):
    """What the labels mean, and which slices become training slices."""

    slices: str = option(
        'labelled',
        'which slices are taken; labelled: those with a labelled tissue; all: those with a '
        'labelled pixel, be it background; level: the nearest to each of --levels',
        group=LABELS,
        choices=('labelled', 'all', 'level'),
    )
    size: int = option(512, 'rows and columns of the slices in the set', group=LABELS)
    hu_limits: str | None = option(
        None,
        f'label only pixels within the HU limits of their tissue: {CONVENTIONS}; for masks of '
        'regions, such as those of SAROS (default: no limits)',
        group=LABELS,
        choices=tuple(HU_LIMITS),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_invalid_size(self.size)

    @property
    def limits(self) -> HULimits | None:
        """The HU limits of the tissues; None without --hu_limits."""
        return None if self.hu_limits is None else HU_LIMITS[self.hu_limits]
