"""Tables: CSV files with a header, as text."""

import csv
import dataclasses
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.runtime.file_formats import other_format
from bodycomp_jax.runtime.files import explained, open_regular_file, replacing

UNNAMED = ('', 'nan', 'none', 'null', 'n/a', '<na>')  # as pandas and others write no name
SEPARATORS = {';': 'semicolons', '\t': 'tabs', '|': 'bars'}


class Column(NamedTuple):
    """The unit of a number and what it is."""

    unit: str
    meaning: str


def number_in(text: str) -> float:
    """The number in a cell; NaN if there is none. Unlike Python's, 1_5 is none."""
    try:
        return math.nan if '_' in text else float(text)
    except ValueError:
        return math.nan


@dataclasses.dataclass(frozen=True)
class Table:
    """A header and rows of as many values.

    Attributes:
      path: of the file.
      header: the names of the columns.
      rows: the values of each row, as they are in the file.
      numbers: of the rows in the file, from 0.
    """

    path: str
    header: list[str]
    rows: list[list[str]]
    numbers: Sequence[int]

    def position(self, name: str) -> int:
        """The index of a column. Raises InputError if several have its name."""
        if self.header.count(name) > 1:
            raise InputError(
                f'{self.path}: {self.header.count(name)} columns have the name {name}; keep one'
            )
        return self.header.index(name)

    def select(self, rows: Sequence[int]) -> 'Table':
        """Some of its rows, in this order."""
        return dataclasses.replace(
            self,
            rows=[self.rows[row] for row in rows],
            numbers=[self.numbers[row] for row in rows],
        )

    def first_of(self, names: Sequence[str]) -> str | None:
        """The first of these names that a column has."""
        return next((name for name in names if name in self.header), None)

    def names_in(self, column: str) -> list[str]:
        """What a column names in each row. Raises InputError where it names nothing."""
        position = self.position(column)
        names = [name_in(row[position]) for row in self.rows]
        for number, name in zip(self.numbers, names, strict=True):
            if not name:
                raise InputError(
                    f'{self.path}: row {number} names no {column}; fill the column in each row'
                )
        return names


def name_in(value: str) -> str:
    """What a value names, without spaces around it; '' if nothing."""
    value = value.strip()
    return '' if value.lower() in UNNAMED else value


def read_table(path: str, separator: str = ',') -> Table:
    """Reads a CSV file in UTF-8.

    Raises InputError for other files, and where a row has fewer or more values than the header.
    """
    text = _read_text(path)
    lines = csv.reader(io.StringIO(text, newline=''), strict=True, delimiter=separator)
    try:
        header, *rows = [row for row in lines if row] or [[]]
    except csv.Error as error:
        raise InputError(
            f'{path}: cannot be read as CSV at line {lines.line_num} ({error}); check that each '
            'quote (") up to this line is closed'
        ) from error
    if separator == ',':
        _refuse_other_separator(path, text)
    if not rows:
        raise InputError(f'{path}: no rows; write them below the header')
    ragged = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
    if ragged is not None:
        raise InputError(
            f'{path}: row {ragged} has {len(rows[ragged])} values, but the first line, the header, '
            f'names {len(header)} columns ({listed(header)}); separate values by commas, and '
            'write 1.5, not 1,5'
        )
    return Table(path, [name.strip() for name in header], rows, range(len(rows)))


def write_table(
    path: str, rows: Iterable[Mapping[str, Any]], header: Sequence[str] | None = None
) -> None:
    """Writes a CSV file of these rows; the header is that of the first row, if none is given.

    What a row lacks is empty.
    """
    rows = list(rows)
    if header is None:
        header = list(rows[0])
    # A carriage return ends a line for readers, but is not quoted by the writer.
    returns = any('\r' in str(value) for row in rows for value in row.values())
    with replacing(path) as file:
        writer = csv.DictWriter(
            file,
            header,
            lineterminator='\n',
            quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL,
        )
        writer.writeheader()
        writer.writerows(rows)


def rows_by_name(names: Sequence[str]) -> dict[str, np.ndarray]:
    """{name: indices of its rows}, in the order of their first rows."""
    rows_of: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        rows_of.setdefault(name, []).append(i)
    return {name: np.array(rows) for name, rows in rows_of.items()}


def contents_beside(path: str) -> str:
    """The contents of the parent folder, for a message."""
    folder = os.path.dirname(path) or os.curdir
    if not os.path.isdir(folder):
        return f'its folder {folder} does not exist either'
    try:
        names = listed(sorted(os.listdir(folder))) or 'nothing'
    except OSError as error:
        return f'its folder {explained(error, folder)}'
    return f'{folder} contains {names}'


def _read_text(path: str) -> str:
    if not os.path.lexists(path):
        raise InputError(f'{path}: no such table; {contents_beside(path)}')
    try:
        with open(open_regular_file(path), 'rb') as file:
            content = file.read()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({explained(error, "")})') from error
    other = other_format(content, 'save it as CSV in UTF-8')
    if other is not None:
        raise InputError(f'{path}: not a table, but {other}')
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise InputError(f'{path}: cannot be read as text ({error}); save it as UTF-8') from error
    if '\0' in text:
        raise InputError(f'{path}: it contains zeros, as UTF-16 does; save it as UTF-8')
    return text


def _refuse_other_separator(path: str, text: str) -> None:
    first = text.split('\n', 1)[0]
    if first.lower().startswith('sep='):
        raise InputError(
            f'{path}: begins with {first.strip()!r}; remove this line: the header comes first, '
            'with commas as separator'
        )
    for separator, name in SEPARATORS.items():
        if separator in first and first.count(separator) >= first.count(','):
            raise InputError(
                f'{path}: the values are separated by {name}; save it with commas as separator '
                'and points in decimal numbers'
            )
