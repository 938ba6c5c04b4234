"""Options of the programs that prepare training sets."""

import dataclasses

from bodycomp_jax.config import as_flag, option
from bodycomp_jax.errors import InputError
from bodycomp_jax.vertebrae import REFERENCES

MAX_SIDE = 4096  # pixels
WHICH = 'Cases and splits'
LABELS = 'Labels'


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
        'the point of a vertebra that is its position, where a mask shows the vertebra; middle: of '
        'its height; inferior: its lower end',
        group=LABELS,
        choices=REFERENCES,
    )
    vertebra_numbers: str = option(
        'totalsegmentator',
        'the numbers of the vertebrae in masks without names: those of TotalSegmentator or VerSe',
        group=LABELS,
        choices=('totalsegmentator', 'verse'),
    )

    def __post_init__(self) -> None:
        shares = self.val_share, self.test_share
        if min(shares) < 0 or not sum(shares) <= 1:
            raise InputError(
                f'invalid --val_share={shares[0]:g} --test_share={shares[1]:g}: use shares of at '
                'least 0 that add up to at most 1'
            )
        if len({*self.levels}) != len(self.levels) or not self.levels:
            raise InputError(
                f'invalid {as_flag("levels", self.levels)}: name at least one level, each once'
            )
