"""Tables of offsets from vertebral levels: reading them, and which offsets are plausible."""

import dataclasses
import math
import re
from collections.abc import Sequence

import numpy as np

from bodycomp_jax import vertebrae
from bodycomp_jax.data.file_names import OFFSET, offset_column
from bodycomp_jax.data.plausibility import USE_ANYWAY
from bodycomp_jax.data.table import Table, number_in, rows_by_name
from bodycomp_jax.errors import InputError, listed

SERIES_COLUMNS = ('series', 'SeriesInstanceUID')
ALL_SLICES = 'all slices'  # the series of a table without such a column
INDEX_COLUMNS = {'', 'unnamed: 0', 'index', 'row', 'image', 'picture', 'file', 'filename', 'path'}
MAX_OFFSET = 1e4  # mm
MIN_SLICES = 5  # of a series that is judged by its offsets
MIN_SPAN = 50.0  # mm of a series; a CT of the trunk is longer
MAX_TURNS = 1 / 3  # of the slices of a series; in a random order there are twice as many


@dataclasses.dataclass(frozen=True)
class OffsetTable:
    """The offsets of the pictures row by row.

    Attributes:
      path: of the file, or what messages call it.
      levels: names of the L levels.
      offsets: `[N, L]` float32, mm from each level, positive towards the head.
      series: {name: `[n]` indices of its slices}; a single one if the table names none.
    """

    path: str
    levels: tuple[str, ...]
    offsets: np.ndarray
    series: dict[str, np.ndarray]

    @property
    def names(self) -> np.ndarray:
        """`[N]` the series of each slice."""
        names = np.empty(len(self.offsets), object)
        for name, rows in self.series.items():
            names[rows] = name
        return names

    @property
    def names_series(self) -> bool:
        """Whether the table names the series of each slice."""
        return list(self.series) != [ALL_SLICES]


def read_offsets(
    table: Table, levels: tuple[str, ...], *, check_values: bool = True
) -> OffsetTable:
    """The offsets in a table with a row per picture.

    Args:
      table: of a split.
      levels: whose offsets are read.
      check_values: whether a column that numbers or names the pictures must be in their order, and
        the levels in that of the spine.

    Raises InputError for missing or ambiguous columns and for invalid values.
    """
    columns = [_column_of(table, level, len(levels)) for level in levels]
    if check_values:
        _refuse_other_order(table)
    offsets = [
        [_offset(table.path, i, table.header[c], row[c]) for c in columns]
        for i, row in enumerate(table.rows)
    ]
    found = OffsetTable(table.path, levels, np.array(offsets, np.float32), _series(table))
    if check_values:
        _refuse_levels_in_other_order(found)
    return found


def select(tables: Sequence[OffsetTable], rows: np.ndarray, path: str) -> OffsetTable:
    """Some rows of several tables of the same levels.

    Args:
      tables: the offsets of pictures.
      rows: indices among the rows of all tables, one after the other.
      path: what messages call the selection.
    """
    names = np.concatenate([table.names for table in tables])[rows]
    offsets = np.concatenate([table.offsets for table in tables])[rows]
    return OffsetTable(path, tables[0].levels, offsets, rows_by_name(names.tolist()))


def refuse_impossible_offsets(table: OffsetTable, is_training: bool) -> None:
    """Raises InputError for offsets that cannot be right.

    Args:
      table: of a split.
      is_training: whether it is the training split, which must show both sides of each level.
    """
    long = [rows for rows in table.series.values() if len(rows) > 1]
    for level, mm in zip(table.levels, table.offsets.T, strict=True):
        fault = None
        if (len(mm) > 1 and np.ptp(mm) == 0) or (long and all(np.ptp(mm[r]) == 0 for r in long)):
            fault = (
                f'the slices of a series all have the same offset, such as {mm[0]:g} mm; give the '
                'distance of each slice from the middle of the vertebra'
            )
        elif is_training and not mm.min() <= 0 <= mm.max():
            fault = (
                f'the offsets are {mm.min():+z.0f} to {mm.max():+z.0f} mm: no scan shows the '
                'level; give slices on both sides of it, those below with a minus sign'
            )
        if fault is not None:
            raise InputError(f'{table.path}: level {level}: {fault}. {USE_ANYWAY}')


def doubtful_offsets(table: OffsetTable, near: float) -> list[str]:
    """What is improbable, and what cannot be measured; for warnings.

    Args:
      table: of a split.
      near: mm, the offsets below which offset errors are measured.
    """
    series, found = table.series, []
    for level, mm in zip(table.levels, table.offsets.T, strict=True):
        if mm.min() == 0 < mm.max():
            found.append(
                f'no slice is below {level}: offsets are distances with a sign, positive towards '
                'the head and negative towards the feet'
            )
        if not any(mm[rows].min() <= 0 <= mm[rows].max() for rows in series.values()):
            found.append(
                f'no series has slices on both sides of {level} (offsets {mm.min():+z.0f} to '
                f'{mm.max():+z.0f} mm): its position error is nan'
            )
        if not (np.abs(mm) < near).any():
            found.append(f'no slice is within {near:g} mm of {level}: its offset error is nan')
    first = table.offsets[:, 0]
    long = {name: first[rows] for name, rows in series.items() if len(rows) >= MIN_SLICES}
    turning = [name for name, mm in long.items() if _turns(mm) > MAX_TURNS * len(mm)]
    if turning:
        found.append(
            f'in {len(turning)} of {len(series)} series, such as {turning[0]!r}, the offsets go up '
            'and down from row to row; check that row i is of picture i, and the column series'
        )
    span = np.median([np.ptp(mm) for mm in long.values()]) if long else math.inf
    if span < MIN_SPAN:
        found.append(f'half of the series are at most {span:.3g} mm long; check the unit, mm')
    return [f'{table.path}: {text}' for text in found]


def _column_of(table: Table, level: str, num_levels: int) -> int:
    """Position of the column with the offsets of a level."""
    names = [offset_column(level), *([OFFSET] if num_levels == 1 else [])]
    name = table.first_of(names)
    if name is None:
        has_others = any(name.startswith(OFFSET) for name in table.header)
        remedy = 'name the levels of the table with --levels' if has_others else 'rename the column'
        raise InputError(
            f'{table.path}: no column {" or ".join(names)} among '
            f'{listed(map(repr, table.header))}; {remedy}, and separate columns by commas'
        )
    return table.position(name)


def _offset(path: str, row: int, column: str, text: str) -> float:
    value = number_in(text)
    if not abs(value) < MAX_OFFSET:
        raise InputError(
            f'{path}: row {row}, column {column}: invalid offset {text!r}: expected a number of '
            'mm such as -12.5; correct it, or remove the row and its picture'
        )
    return value


def _series(table: Table) -> dict[str, np.ndarray]:
    """{name: indices of its rows}, in the order of their first rows."""
    column = table.first_of(SERIES_COLUMNS)
    if column is None:
        lower = [name.lower() for name in SERIES_COLUMNS]
        similar = next((name for name in table.header if name.lower() in lower), None)
        if similar is not None:
            raise InputError(
                f'{table.path}: the column {similar!r} is not read; rename it to series'
            )
        return {ALL_SLICES: np.arange(len(table.rows))}
    return rows_by_name(table.names_in(column))


def _refuse_other_order(table: Table) -> None:
    """Raises InputError if a column names the pictures, or numbers them, in another order.

    Names are 000000.png and so on, in any folder. Unless they or the name of their column say so,
    numbers that descend, or of a few rows, may be of something else, such as slices of a scan.
    """
    for column, name in enumerate(table.header):
        values = [row[column].strip().replace('\\', '/').rsplit('/', 1)[-1] for row in table.rows]
        numbers = None if name in SERIES_COLUMNS else _picture_numbers(values)
        if numbers is None or (np.diff(numbers) > 0).all():
            continue
        names_pictures = any(re.match(r'0\d{5}', value) for value in values)
        ambiguous = len(values) < MIN_SLICES or (np.diff(numbers) < 0).all()
        if ambiguous and not names_pictures and name.strip().lower() not in INDEX_COLUMNS:
            continue
        i = int(np.flatnonzero(numbers - min(numbers) != np.arange(len(numbers)))[0])
        raise InputError(
            f'{table.path}: row {i} is of picture {i:06d}.png, but its column {name!r} says '
            f'{table.rows[i][column]!r}; sort the rows by this column, or remove it if it is of '
            f'something else. {USE_ANYWAY}'
        )


def _picture_numbers(values: Sequence[str]) -> np.ndarray | None:
    """The consecutive numbers in a column, in any order; None if it has other content.

    Numbers without '.png' must begin at 0 or 1.
    """
    if not all(re.fullmatch(r'\d{1,9}(\.png|\.0)?', value, re.ASCII) for value in values):
        return None
    numbers = np.array([int(value.split('.')[0]) for value in values])
    first = numbers.min()
    consecutive = np.array_equal(np.sort(numbers), np.arange(first, first + len(numbers)))
    return numbers if consecutive and (first <= 1 or values[0].endswith('.png')) else None


def _refuse_levels_in_other_order(table: OffsetTable) -> None:
    """Raises InputError if a slice is further above a level than above one that is lower."""
    known = vertebrae.from_head(table.levels)
    columns = table.offsets[:, [table.levels.index(level) for level in known]]
    for upper, lower, high, low in zip(known, known[1:], columns.T, columns.T[1:], strict=False):
        wrong = np.flatnonzero(low <= high)
        if wrong.size:
            i = wrong[0]
            raise InputError(
                f'{table.path}: row {i}: {high[i]:+z.1f} mm from {upper}, but {low[i]:+z.1f} mm '
                f'from {lower}, which is lower; offsets are positive towards the head, so that '
                f'of {lower} must be larger. {USE_ANYWAY}'
            )


def _turns(mm: np.ndarray) -> int:
    """How often the offsets change between rising and falling."""
    signs = np.sign(np.diff(mm))
    signs = signs[signs != 0]
    return int((signs[1:] != signs[:-1]).sum())
