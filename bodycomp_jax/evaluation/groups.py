"""Subgroups of the units by the values of a table."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.folds import PATIENT_COLUMNS
from bodycomp_jax.data.table import Table, name_in, number_in, read_table
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.evaluation.units import PATIENT, SLICE

MAX_VALUES = 8  # of a column whose values are groups; numbers with more are halved
NOT_GIVEN, UP_TO, ABOVE = 'not given', 'up to', 'above'


class Groups(NamedTuple):
    """Subgroups.

    Attributes:
      of: {column: {value: indices of its units}}.
      left_out: what is not used, and why.
    """

    of: Mapping[str, Mapping[str, np.ndarray]]
    left_out: Sequence[str]


def read_groups(path: str, units: Sequence[str], unit: str) -> Groups:
    """The groups of units by each column of a table.

    A column of numbers with more than `MAX_VALUES` values is halved at its median, another such
    column is left out.

    Args:
      path: of the CSV file, with a row for each unit in any order.
      units: their names.
      unit: what they are.

    Raises InputError if the table does not name the units, or names one twice.
    """
    if unit == SLICE:
        raise InputError(
            f'{path}: the data do not say of which patient a slice is, so that no group is known; '
            'add slices.csv with a column patient'
        )
    table = read_table(path)
    row_of = _row_of(table, unit)
    missing = [name for name in units if name not in row_of]
    if len(missing) == len(units):
        raise InputError(
            f'{path}: names none of the {len(units)} {unit} names of the data, such as '
            f'{units[0]!r}; name them as the data do'
        )
    left_out = []
    if missing:
        left_out.append(f'{path} has no row for {len(missing)} of {len(units)}: {listed(missing)}')
    found = {}
    for name in table.header:
        if name in (*PATIENT_COLUMNS, ''):
            continue
        place = table.position(name)
        values = [name_in(table.rows[row_of[u]][place]) if u in row_of else '' for u in units]
        groups = _groups(values)
        if groups is None:
            left_out.append(
                f'{path}: the column {name} has {len({*values})} different values, more than '
                f'{MAX_VALUES}, and they are not all numbers'
            )
        else:
            found[name] = groups
    return Groups(found, left_out)


def _row_of(table: Table, unit: str) -> dict[str, int]:
    """{name of a unit: its row}."""
    names = (PATIENT,) if unit == PATIENT else PATIENT_COLUMNS[1:]
    column = table.first_of(names)
    if column is None:
        raise InputError(
            f'{table.path}: no column {" or ".join(names)}, but {listed(map(repr, table.header))}; '
            f'name the {unit} of each row'
        )
    row_of: dict[str, int] = {}
    for i, name in enumerate(table.names_in(column)):
        if row_of.setdefault(name, i) != i:
            raise InputError(
                f'{table.path}: rows {row_of[name]} and {i} are both of {name!r}; keep one'
            )
    return row_of


def _groups(values: Sequence[str]) -> dict[str, np.ndarray] | None:
    """{value: indices of its units}; None for too many texts."""
    names = [value or NOT_GIVEN for value in values]
    if len({*values} - {''}) > MAX_VALUES:
        numbers = [_number(value) for value in values]
        if any(number is None for number, value in zip(numbers, values, strict=True) if value):
            return None
        median = float(np.median([number for number in numbers if number is not None]))
        names = [
            NOT_GIVEN if number is None else f'{ABOVE if number > median else UP_TO} {median:g}'
            for number in numbers
        ]
    order = sorted(
        {*names},
        key=lambda name: (name == NOT_GIVEN, _number(name) or 0, name.startswith(ABOVE), name),
    )
    return {name: np.flatnonzero(np.array(names) == name) for name in order}


def _number(text: str) -> float | None:
    number = number_in(text)
    return number if np.isfinite(number) else None
