"""Tables of positions that overrule the network."""

import dataclasses
import os
from collections.abc import Iterable

from bodycomp_jax.data.scans import Series
from bodycomp_jax.data.scans.grid import MAX_POSITION
from bodycomp_jax.data.table import number_in, read_table
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.estimation.result import MEASURED

WANTED = 'name them series and level, and z_mm (mm, towards the head) or file (of a slice)'


@dataclasses.dataclass(frozen=True)
class _Row:
    number: int
    z: str
    file: str


@dataclasses.dataclass(frozen=True)
class LevelsTable:
    """Positions of levels in series.

    Attributes:
      path: of the table.
      levels: that it names.
      rows: {(series, level): row}.
    """

    path: str
    levels: list[str]
    rows: dict[tuple[str, str], _Row]

    def positions(self, series: Series) -> dict[str, float]:
        """{level: z in mm} of a series, by its name or SeriesInstanceUID.

        Raises InputError for a file that is none of its slices, and for one at another position.
        """
        return {
            level: self._position(series, row)
            for (name, level), row in self.rows.items()
            if name in _names(series)
        }

    def names_without(self, series: Iterable[Series]) -> list[str]:
        """The names in the table that none of these series has."""
        known = {name for each in series for name in _names(each)}
        return [name for name in dict.fromkeys(name for name, _ in self.rows) if name not in known]

    def _position(self, series: Series, row: _Row) -> float:
        wanted = os.path.basename(row.file)
        found = [each.z for each in series.slices if os.path.basename(each.path) == wanted]
        if row.z:
            mm = _millimetres(self.path, row)
            if len(found) == 1 and not series.is_nearest(found[0], mm):
                raise InputError(
                    f'{self.path}: row {row.number}: z_mm {row.z} is not at the slice in file '
                    f'{wanted}, which is at {found[0]:.1f}; clear the one that is not meant'
                )
            return mm
        if len(found) != 1:
            raise InputError(
                f'{self.path}: row {row.number}: {len(found)} slices of the series {series.name} '
                f'are in a file {wanted}; give that of one slice, or its z_mm'
            )
        return found[0]


def read_levels_table(path: str) -> LevelsTable:
    """The positions in a CSV file; in tables of results, those of the measured levels.

    Raises InputError for missing columns, invalid numbers, a level that a series has twice, and a
    table without positions.
    """
    table = read_table(path)
    if not {'series', 'level'} <= {*table.header} or not {'z_mm', 'file'} & {*table.header}:
        raise InputError(f'{path}: the columns are {listed(map(repr, table.header))}; {WANTED}')
    rows: dict[tuple[str, str], _Row] = {}
    for number, values in zip(table.numbers, table.rows, strict=True):
        status, series, level, z, file = (
            values[table.position(name)].strip() if name in table.header else ''
            for name in ('status', 'series', 'level', 'z_mm', 'file')
        )
        if status not in ('', MEASURED) or not (z or file):
            continue
        if not series:
            raise InputError(f'{path}: row {number} has no series; name it as in results.csv')
        row = _Row(number, z, file)
        if z:
            _millimetres(path, row)
        first = rows.setdefault((series, level), row)
        if first is not row:
            raise InputError(
                f'{path}: rows {first.number} and {number} are both of {level} in the series '
                f'{series}; keep one'
            )
    if not rows:
        raise InputError(f'{path}: no row has a position; write it in z_mm, or a slice in file')
    return LevelsTable(path, list(dict.fromkeys(level for _, level in rows)), rows)


def _names(series: Series) -> list[str]:
    return [name for name in (series.name, series.uid) if name]


def _millimetres(path: str, row: _Row) -> float:
    mm = number_in(row.z)
    if not abs(mm) <= MAX_POSITION:
        raise InputError(
            f'{path}: row {row.number}, column z_mm: {row.z[:20]!r} is not a position; write mm '
            'such as -64.9'
        )
    return mm
