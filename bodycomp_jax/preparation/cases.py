"""The cases of a set: a table, or a folder in a known layout."""

import dataclasses
import os
import re

from bodycomp_jax.data.masks.vertebrae import LEVELS
from bodycomp_jax.data.table import Table, name_in, read_table
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.preparation.layouts import read_layout
from bodycomp_jax.preparation.splits import refuse_unknown_splits

PATHS = ('image', 'mask', 'vertebrae')
TEXTS = ('patient', 'split', 'fold', 'series')
LEVEL_COLUMN = re.compile(rf'({"|".join(LEVELS)})(_file|_sop_instance_uid)?')


@dataclasses.dataclass(frozen=True)
class Case:
    """A scan with its masks, and what is known of it; '' where nothing is.

    Attributes:
      number: of the case, from 0.
      levels: {column: value} of the columns that say where a level is.
      image, mask, vertebrae: paths of the scan, its tissue labels and its vertebra labels.
      patient, split, fold: as the table names them.
      series: the SeriesInstanceUID or the name of the scan, where `image` holds several.
    """

    number: int
    levels: dict[str, str]
    image: str = ''
    mask: str = ''
    vertebrae: str = ''
    patient: str = ''
    split: str = ''
    fold: str = ''
    series: str = ''


@dataclasses.dataclass(frozen=True)
class Cases:
    """The cases, and what their layout says of the labels.

    Attributes:
      cases: in the order of the table.
      preset: the name of the preset of the labels of a known data set, or ''.
      names: {label: (name,)} of the labels in the masks, where the layout names them.
    """

    cases: list[Case]
    preset: str = ''
    names: dict[int, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def read_cases(path: str, required: tuple[str, ...]) -> Cases:
    """The cases of a CSV file, or of a folder in a layout of `layouts`.

    Args:
      path: of the table, relative to whose folder its paths are; or of the folder.
      required: columns without which the cases cannot be used.

    Raises InputError for unknown or missing columns, and for paths that do not exist; in the known
    layouts, of which many people have a part, a case without its image is among the cases.
    """
    cases = _cases_of_folder(path) if os.path.isdir(path) else _cases_of_table(path, required)
    refuse_unknown_splits(path, (case.split for case in cases.cases))
    return cases


def _cases_of_folder(path: str) -> Cases:
    layout = read_layout(path)
    cases = [Case(i, {}, **values) for i, values in enumerate(layout.cases)]
    if not cases:
        raise InputError(f'{path}: no cases; check that its files are unpacked')
    return Cases(cases, layout.preset, layout.names)


def _cases_of_table(path: str, required: tuple[str, ...]) -> Cases:
    table = read_table(path)
    _refuse_columns(table, required)
    cases = [_case(table, i) for i in range(len(table.rows))]
    for case in cases:
        _refuse_missing_paths(path, case, required)
    return Cases(cases)


def _refuse_columns(table: Table, required: tuple[str, ...]) -> None:
    known = (*PATHS, *TEXTS)
    unknown = [c for c in table.header if c not in known and not LEVEL_COLUMN.fullmatch(c)]
    if unknown:
        raise InputError(
            f'{table.path}: unknown columns {listed(map(repr, unknown))}; use {", ".join(known)} '
            'and, for each level, L3 (mm), L3_file or L3_sop_instance_uid; remove the others'
        )
    missing = [column for column in required if column not in table.header]
    if missing:
        raise InputError(
            f'{table.path}: no column {listed(missing)} among {listed(map(repr, table.header))}; '
            'add it, with a path in each row'
        )


def _case(table: Table, row: int) -> Case:
    values = {name: name_in(table.rows[row][table.position(name)]) for name in table.header}
    folder = os.path.dirname(table.path)
    texts = {name: values[name] for name in TEXTS if name in values}
    texts |= {name: os.path.join(folder, values[name]) for name in PATHS if values.get(name)}
    levels = {name: value for name, value in values.items() if LEVEL_COLUMN.fullmatch(name)}
    return Case(row, levels, **texts)


def _refuse_missing_paths(path: str, case: Case, required: tuple[str, ...]) -> None:
    for column in PATHS:
        value = getattr(case, column)
        if column in required and not value:
            raise InputError(
                f'{path}: row {case.number} names no {column}; give its path, or remove the row'
            )
        if value and not os.path.exists(value):
            raise InputError(
                f'{path}: row {case.number}: the {column} {value} does not exist; correct its '
                'path, which is relative to the folder of the table'
            )
