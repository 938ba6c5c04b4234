"""Ratings that people gave to cases on the page of a cohort."""

from collections.abc import Collection, Iterable, Mapping

from bodycomp_jax.data.table import read_table
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.estimation.report import IDENTITY
from bodycomp_jax.estimation.result import MEASURED
from bodycomp_jax.estimation.rows import IN_SLAB, SLAB_MEAN, Row, without_numbers

BAD, EXCLUDED = 'bad', 'excluded'  # a rating; a status
RATINGS = ('good', BAD, 'other', '')
Identity = tuple[str, ...]


def identity(row: Mapping[str, object]) -> Identity:
    """What a rating names of a row of results: series, level and slice, '' where unknown."""
    return tuple(_text(row.get(name)) for name in IDENTITY)


def read_bad(path: str) -> set[Identity]:
    """The identities of the cases that are rated bad in a CSV file that the page saved.

    Raises InputError for other files and other ratings.
    """
    table = read_table(path)
    missing = [name for name in (*IDENTITY, 'rating') if name not in table.header]
    if missing:
        raise InputError(
            f'{path}: no column {listed(missing)}, but {listed(table.header)}; give the file that '
            '"Save ratings" on the page report.html wrote'
        )
    places = [table.position(name) for name in IDENTITY]
    rating = table.position('rating')
    for number, row in zip(table.numbers, table.rows, strict=True):
        if row[rating].strip() not in RATINGS:
            raise InputError(
                f'{path}: row {number}: the rating is {row[rating]!r}; expected good, bad, other '
                'or nothing'
            )
    return {
        tuple(row[place].strip() for place in places)
        for row in table.rows
        if row[rating].strip() == BAD
    }


def excluded(rows: Iterable[Row], bad: Collection[Identity], path: str) -> list[Row]:
    """The rows; those of slices that are rated bad, and of the slabs around them, without numbers.

    Args:
      rows: of results, each slab after the slice at its level.
      bad: identities of `read_bad`.
      path: of its file.
    """
    kept, of_bad = [], False
    for row in rows:
        if row['status'] == MEASURED:
            of_bad = identity(row) in bad
        if row['status'] in (MEASURED, IN_SLAB, SLAB_MEAN) and (of_bad or identity(row) in bad):
            row = {**without_numbers(row), 'status': EXCLUDED, 'reason': f'rated bad in {path}'}
        kept.append(row)
    return kept


def _text(value: object) -> str:
    """As the page writes it."""
    if isinstance(value, float):
        return f'{value:.0f}'
    return '' if value is None else str(value)
