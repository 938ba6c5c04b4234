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
    """The rows, without the numbers of slices that are rated bad.

    If the slice at a level is bad, its whole slab loses its numbers; if another slice of the slab
    is, that slice and the mean do.

    Args:
      rows: of results, each slab after the slice at its level, its mean last.
      bad: identities of `read_bad`.
      path: of its file.
    """
    kept, at_level, in_slab = [], False, False
    for row in rows:
        is_bad = identity(row) in bad
        if row['status'] == MEASURED:
            at_level = in_slab = is_bad
        elif row['status'] == IN_SLAB:
            in_slab = in_slab or is_bad
            is_bad = is_bad or at_level
        elif row['status'] == SLAB_MEAN:
            is_bad = is_bad or in_slab
        if is_bad and row['status'] in (MEASURED, IN_SLAB, SLAB_MEAN):
            row = {**without_numbers(row), 'status': EXCLUDED, 'reason': f'rated bad in {path}'}
        kept.append(row)
    return kept


def _text(value: object) -> str:
    """As the page writes it."""
    if isinstance(value, float):
        return f'{value:.0f}'
    return '' if value is None else str(value)
