"""Tables of offsets from vertebral levels: reading them, and which offsets are plausible."""

import csv
import dataclasses
import math
import os
import re
from collections.abc import Sequence

import numpy as np

from bodycomp_jax.data.plausibility import USE_ANYWAY
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.runtime.file_formats import other_format
from bodycomp_jax.runtime.files import explained, open_regular_file

SERIES_COLUMNS = ('series', 'SeriesInstanceUID')
UNNAMED = ('', 'nan', 'none', 'null', 'n/a', '<na>')  # as pandas and others write no name
ALL_SLICES = 'all slices'  # the series of a table without such a column
INDEX_COLUMNS = {'', 'unnamed: 0', 'index', 'row', 'image', 'picture', 'file', 'filename', 'path'}
SEPARATORS = {';': 'semicolons', '\t': 'tabs', '|': 'bars'}
REGIONS = 'CTLS'  # of the spine, from the head down
MAX_OFFSET = 1e4  # mm
MIN_SLICES = 5  # of a series that is judged by its offsets
MIN_SPAN = 50.0  # mm of a series; a CT of the trunk is longer
MAX_TURNS = 1 / 3  # of the slices of a series; in a random order there are twice as many


@dataclasses.dataclass(frozen=True)
class OffsetTable:
    """The offsets of the pictures of a split, row by row.

    Attributes:
      path: of the file.
      levels: names of the L levels.
      offsets: `[N, L]` float32, mm from each level, positive towards the head.
      series: {name: `[n]` indices of its slices}; a single one if the table names none.
    """

    path: str
    levels: tuple[str, ...]
    offsets: np.ndarray
    series: dict[str, np.ndarray]

    @property
    def names_series(self) -> bool:
        """Whether the table names the series of each slice."""
        return list(self.series) != [ALL_SLICES]


def read_offset_table(
    path: str, levels: tuple[str, ...], *, check_values: bool = True
) -> OffsetTable:
    """Reads a CSV file with a header and a row per picture.

    Args:
      path: of the file.
      levels: whose offsets are read.
      check_values: whether a column that numbers or names the pictures must be in their order.

    Raises InputError for other files, for missing or ambiguous columns and for invalid values.
    """
    header, rows = _read_rows(path)
    columns = [_offset_column(path, header, level, len(levels)) for level in levels]
    if check_values:
        _refuse_other_order(path, header, rows)
    offsets = [[_offset(path, i, header[c], row[c]) for c in columns] for i, row in enumerate(rows)]
    return OffsetTable(path, levels, np.array(offsets, np.float32), _series(path, header, rows))


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
    _refuse_levels_in_other_order(table)


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


def contents_beside(path: str) -> str:
    """The contents of the parent folder, for a message."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return f'its folder {folder} does not exist either'
    try:
        names = listed(sorted(os.listdir(folder))) or 'nothing'
    except OSError as error:
        return f'its folder {explained(error, folder)}'
    return f'{folder} contains {names}'


def _read_rows(path: str) -> tuple[list[str], list[list[str]]]:
    """(header, rows)."""
    text = _read_text(path)
    lines = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header, *rows = [row for row in lines if row] or [[]]
    except csv.Error as error:
        raise InputError(
            f'{path}: cannot be read as CSV at line {lines.line_num} ({error}); check that each '
            'quote (") up to this line is closed'
        ) from error
    _refuse_other_separator(path, text)
    if not rows:
        raise InputError(f'{path}: no rows; write one row per picture')
    ragged = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
    if ragged is not None:
        raise InputError(
            f'{path}: row {ragged} has {len(rows[ragged])} values, but the first line, the header, '
            f'names {len(header)} columns ({listed(header)}); separate values by commas, and '
            'write 1.5, not 1,5'
        )
    return [name.strip() for name in header], rows


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


def _offset_column(path: str, header: list[str], level: str, num_levels: int) -> int:
    """Position of the column with the offsets of a level."""
    names = [f'ZOffset_{level}', *(['ZOffset'] if num_levels == 1 else [])]
    name = next((name for name in names if name in header), None)
    if name is None:
        has_others = any(name.startswith('ZOffset') for name in header)
        remedy = 'name the levels of the table with --levels' if has_others else 'rename the column'
        raise InputError(
            f'{path}: no column {" or ".join(names)} among {listed(map(repr, header))}; '
            f'{remedy}, and separate columns by commas'
        )
    return _position(path, header, name)


def _position(path: str, header: list[str], name: str) -> int:
    if header.count(name) > 1:
        raise InputError(f'{path}: {header.count(name)} columns have the name {name}; keep one')
    return header.index(name)


def _offset(path: str, row: int, column: str, text: str) -> float:
    try:
        value = math.nan if '_' in text else float(text)  # Python reads 1_5 as 15
    except ValueError:
        value = math.nan
    if not abs(value) < MAX_OFFSET:
        raise InputError(
            f'{path}: row {row}, column {column}: invalid offset {text!r}: expected a number of '
            'mm such as -12.5; correct it, or remove the row and its picture'
        )
    return value


def _series(path: str, header: list[str], rows: list[list[str]]) -> dict[str, np.ndarray]:
    """{name: indices of its rows}, in the order of their first rows."""
    name = next((name for name in SERIES_COLUMNS if name in header), None)
    if name is None:
        lower = [name.lower() for name in SERIES_COLUMNS]
        similar = next((name for name in header if name.lower() in lower), None)
        if similar is not None:
            raise InputError(f'{path}: the column {similar!r} is not read; rename it to series')
        return {ALL_SLICES: np.arange(len(rows))}
    column = _position(path, header, name)
    rows_of: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        series = row[column].strip()
        if series.lower() in UNNAMED:
            raise InputError(f'{path}: row {i} names no {name}; name the scan of each slice')
        rows_of.setdefault(series, []).append(i)
    return {name: np.array(indices) for name, indices in rows_of.items()}


def _refuse_other_order(path: str, header: list[str], rows: list[list[str]]) -> None:
    """Raises InputError if a column names the pictures, or numbers them, in another order.

    Names are 000000.png and so on, in any folder. Unless they or the name of their column say so,
    numbers that descend, or of a few rows, may be of something else, such as slices of a scan.
    """
    for column, name in enumerate(header):
        values = [row[column].strip().replace('\\', '/').rsplit('/', 1)[-1] for row in rows]
        numbers = None if name in SERIES_COLUMNS else _picture_numbers(values)
        if numbers is None or (np.diff(numbers) > 0).all():
            continue
        names_pictures = any(re.match(r'0\d{5}', value) for value in values)
        ambiguous = len(rows) < MIN_SLICES or (np.diff(numbers) < 0).all()
        if ambiguous and not names_pictures and name.strip().lower() not in INDEX_COLUMNS:
            continue
        i = int(np.flatnonzero(numbers - min(numbers) != np.arange(len(numbers)))[0])
        raise InputError(
            f'{path}: row {i} is of picture {i:06d}.png, but its column {name!r} says '
            f'{rows[i][column]!r}; sort the rows by this column, or remove it if it is of '
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
    known = sorted(
        (level for level in table.levels if re.fullmatch(rf'[{REGIONS}]\d{{1,2}}', level)),
        key=lambda level: (REGIONS.index(level[0]), int(level[1:])),
    )
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
