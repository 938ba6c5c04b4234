"""The folds of a cross-validation: parts of the patients, each of which validates once."""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.table import Table, name_in, rows_by_name
from bodycomp_jax.errors import InputError, listed

PATIENT_COLUMNS = ('patient', 'series', 'SeriesInstanceUID')  # the first that all tables have
FOLD_COLUMN = 'fold'


class Part(NamedTuple):
    """Slices of both splits together.

    Attributes:
      name: which, for messages.
      rows: `[n]` their indices among those of both splits, one after the other.
    """

    name: str
    rows: np.ndarray


def share_out(tables: Sequence[Table], fold: int, folds: int) -> tuple[Part, Part]:
    """The slices that train, and those that validate, of all tables one after the other.

    The column `fold` decides or, without it, the numbers of slices of the patients: folds of about
    the same size, whatever the order of the rows.

    Args:
      tables: a row per slice.
      fold: the one that validates, from 0.
      folds: their number.

    Raises InputError if the patients are not known, or cannot be shared out like this.
    """
    where = ' and '.join(table.path for table in tables)
    column = _patient_column(tables)
    patients = rows_by_name([name for table in tables for name in table.names_in(column)])
    if len(patients) < folds:
        raise InputError(
            f'{where}: {len(patients)} patients (column {column}) cannot be shared out among '
            f'--folds={folds}; use at most as many folds as patients'
        )
    given = [name for table in tables for name in _given_folds(table)]
    fold_of = _by_column(patients, given, folds, where) if any(given) else _by_size(patients, folds)
    validates = np.zeros(len(given), bool)
    for patient, rows in patients.items():
        validates[rows] = fold_of[patient] == fold
    name = f'fold {fold} of {folds} by {column}'
    return (
        Part(f'all but {name}', np.flatnonzero(~validates)),
        Part(name, np.flatnonzero(validates)),
    )


def _patient_column(tables: Sequence[Table]) -> str:
    for name in PATIENT_COLUMNS:
        if all(name in table.header for table in tables):
            return name
    lacking = next(table for table in tables if 'patient' not in table.header)
    raise InputError(
        f'{lacking.path}: no column patient among {listed(map(repr, lacking.header))}; --folds '
        'keeps the slices of a patient together: add a column patient that names the patient of '
        'each slice'
    )


def _given_folds(table: Table) -> list[str]:
    """The fold that a table gives each row; '' where it gives none."""
    if FOLD_COLUMN not in table.header:
        return [''] * len(table.rows)
    position = table.position(FOLD_COLUMN)
    return [name_in(row[position]) for row in table.rows]


def _by_column(
    patients: dict[str, np.ndarray], given: Sequence[str], folds: int, where: str
) -> dict[str, int]:
    """{patient: its fold}; folds are numbered in the order of their values, numbers by size."""
    found = {patient: sorted({given[row] for row in rows}) for patient, rows in patients.items()}
    for patient, values in found.items():
        if len(values) > 1 or not values[0]:
            shown = ' and '.join(repr(value) for value in values)
            raise InputError(
                f'{where}: the slices of patient {patient!r} have {shown} in the column fold; '
                'give each patient one fold, or remove the column'
            )
    values = sorted({value for (value,) in found.values()}, key=fold_order)
    if len(values) != folds:
        raise InputError(
            f'{where}: the column fold has {len(values)} different values ({listed(values)}), not '
            f'--folds={folds}; give as many folds, or remove the column'
        )
    return {patient: values.index(value) for patient, (value,) in found.items()}


def _by_size(patients: dict[str, np.ndarray], folds: int) -> dict[str, int]:
    """{patient: its fold}: from the largest on, each goes where the fewest slices are.

    Patients with as many slices are in the order of a hash, which no numbering of them follows.
    """

    def order(patient):
        return -len(patients[patient]), hashlib.sha256(patient.encode()).digest()

    sizes, fold_of = [0] * folds, {}
    for patient in sorted(patients, key=order):
        smallest = sizes.index(min(sizes))
        fold_of[patient] = smallest
        sizes[smallest] += len(patients[patient])
    return fold_of


def fold_order(value: str) -> tuple[float, str]:
    """The key by which values of the column `fold` are sorted: numbers by size, then names."""
    try:
        return float(value), value
    except ValueError:
        return math.inf, value
