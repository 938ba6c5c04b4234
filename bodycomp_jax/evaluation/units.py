"""Whose slices these are: the units that are resampled, and by which columns they are named."""

from collections.abc import Mapping, Sequence

from bodycomp_jax.data.folds import PATIENT_COLUMNS
from bodycomp_jax.data.table import Table, name_in
from bodycomp_jax.errors import InputError

SLICE, SERIES, PATIENT = 'slice', 'series', 'patient'
SPACING = ('row_spacing', 'column_spacing')  # mm
ABOUT = (PATIENT, SERIES, 'SeriesInstanceUID', 'z', *SPACING, 'file')  # columns of tables

About = Sequence[Mapping[str, str]]  # {column: value} of each slice; always split and row


def about_rows(table: Table) -> list[dict[str, str]]:
    """What a table says of whose slices its rows are."""
    places = {name: table.position(name) for name in ABOUT if name in table.header}
    return [{name: row[place].strip() for name, place in places.items()} for row in table.rows]


def units_of(about: About) -> tuple[list[str], str]:
    """(the unit of each slice, what the units are): patients, else series, else slices.

    Raises InputError where a column names nothing.
    """
    column = next((name for name in PATIENT_COLUMNS if all(name in row for row in about)), None)
    if column is None:
        return [f'{row["split"]} {row["row"]}' for row in about], SLICE
    names = [name_in(row[column]) for row in about]
    for row, name in zip(about, names, strict=True):
        if not name:
            raise InputError(
                f'slice {row["row"]} of {row["split"]} has no {column} in its table; fill the '
                'column in each row'
            )
    return names, PATIENT if column == PATIENT else SERIES


def place_of(row: Mapping[str, str]) -> str:
    """A slice, for messages and captions."""
    return f'slice {row["row"]} of {row["split"]}'
