"""Which patients train, validate and test: never a part of one."""

import hashlib
from collections.abc import Iterable

from bodycomp_jax.errors import InputError, listed

SPLITS = ('train', 'val', 'test')


def split_of_patients(
    given: Iterable[tuple[int, str, str, str]], *, val_share: float, test_share: float, seed: int
) -> dict[str, str]:
    """The split of each patient.

    A split that the table gives goes first. Of a patient with a fold and no split, the first fold
    validates and the others train. The rest is drawn: the order of the cases and the other
    patients' names do not change the order in which patients are drawn.

    Args:
      given: (number, patient, split or '', fold or '') of each case.
      val_share, test_share: of the patients that are drawn.
      seed: of the draw.

    Returns:
      {patient: one of `SPLITS`}.

    Raises InputError where cases of a patient are in several splits or folds.
    """
    splits: dict[str, str] = {}
    folds: dict[str, str] = {}
    first: dict[str, int] = {}
    for case, patient, split, fold in given:
        other = first.setdefault(patient, case)
        for known, value, column in ((splits, split, 'split'), (folds, fold, 'fold')):
            if known.setdefault(patient, value) != value:
                raise InputError(
                    f'cases {other} and {case} are of one patient, but their {column} is '
                    f'{known[patient]!r} and {value!r}; give all scans of a patient the same'
                )
    first_fold = min(filter(None, folds.values()), key=_natural, default='')
    for patient, fold in folds.items():
        if fold and not splits[patient]:
            splits[patient] = 'val' if fold == first_fold else 'train'
    free = sorted((p for p, split in splits.items() if not split), key=lambda p: _draw(seed, p))
    num_test = _count(test_share, len(free))
    num_val = min(_count(val_share, len(free)), len(free) - num_test)
    for i, patient in enumerate(free):
        splits[patient] = SPLITS[2 if i < num_test else 1 if i < num_test + num_val else 0]
    return splits


def refuse_unknown_splits(path: str, names: Iterable[str]) -> None:
    """Raises InputError for other names than those of `SPLITS` and ''."""
    unknown = sorted(set(names) - {*SPLITS, ''})
    if unknown:
        raise InputError(
            f'{path}: the column split holds {listed(map(repr, unknown))}; use train, val or test, '
            'or leave it empty to have the split drawn'
        )


def _count(share: float, patients: int) -> int:
    """At least one of several patients for any share above 0."""
    return max(round(share * patients), int(share > 0 and patients > 1))


def _draw(seed: int, patient: str) -> bytes:
    return hashlib.sha256(f'{seed} {patient}'.encode()).digest()


def _natural(fold: str) -> tuple[int, str]:
    """Folds in the order of their numbers: 2 before 10."""
    digits = ''.join(filter(str.isdigit, fold))
    return int(digits or 0), fold
