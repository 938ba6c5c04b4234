"""Which patients train, validate and test: never a part of one."""

import hashlib
from collections.abc import Iterable, Mapping

from bodycomp_jax.data.file_names import SPLITS
from bodycomp_jax.data.folds import fold_order
from bodycomp_jax.errors import InputError, listed


def split_of_patients(
    given: Iterable[tuple[int, str, str, str]], *, val_share: float, test_share: float, seed: int
) -> dict[str, str]:
    """The split of each patient.

    A split in the table takes precedence. Of the patients with a fold and no split, the first
    fold validates and the others train. The rest is drawn: the order of the cases and the other
    patients' names do not change the order in which patients are drawn.

    Args:
      given: (number, patient, split or '', fold or '') of each case.
      val_share, test_share: of the patients that are drawn.
      seed: of the draw.

    Returns:
      {patient: one of `SPLITS`}.

    Raises InputError where cases of a patient are in several splits or folds, or only some have a
    fold.
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
    if any(folds.values()):
        _split_by_fold(splits, folds, first)
    free = sorted((p for p, split in splits.items() if not split), key=lambda p: _draw(seed, p))
    most = len(free)
    if free and val_share + test_share < 1:
        most -= 1  # somebody is left to train
    num_val = min(_count(val_share, len(free)), most)
    num_test = min(_count(test_share, len(free)), most - num_val)
    drawn = ['val'] * num_val + ['test'] * num_test + ['train'] * (len(free) - num_val - num_test)
    return splits | dict(zip(free, drawn, strict=True))


def _split_by_fold(
    splits: dict[str, str], folds: Mapping[str, str], first: Mapping[str, int]
) -> None:
    """Fills in the splits that are not given. Raises InputError where a fold is missing."""
    undecided = [fold for patient, fold in folds.items() if fold and not splits[patient]]
    first_fold = min(undecided, key=fold_order, default='')
    for patient, fold in folds.items():
        if not fold and splits[patient] != 'test':
            raise InputError(
                f'case {first[patient]} has no fold, but others have one; give each case a fold, '
                'or the split test'
            )
        splits[patient] = splits[patient] or ('val' if fold == first_fold else 'train')


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
