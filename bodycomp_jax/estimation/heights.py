"""How tall patients are."""

from collections.abc import Mapping
from typing import NamedTuple

from bodycomp_jax.data.table import number_in, read_table
from bodycomp_jax.errors import InputError, listed

CM_ABOVE = 3.0  # a greater number of m is one of cm
LOWEST, HIGHEST = 0.5, 2.6  # m
COLUMNS = {'height_m': 1.0, 'height_cm': 100.0}


class Height(NamedTuple):
    """A height, and a word for what is odd about it.

    Attributes:
      m: None if unknown.
      flag: '' if nothing is.
    """

    m: float | None
    flag: str = ''


def height_of(metadata: Mapping[str, str]) -> Height:
    """The height in the files of a series, whose PatientSize is in m and sometimes in cm."""
    text = metadata.get('patient_size', '')
    size = float(text) if text else 0.0
    if size == 0:
        return Height(None)
    in_cm = size > CM_ABOVE
    metres = size / 100 if in_cm else size
    if not LOWEST <= metres <= HIGHEST:
        return Height(None, 'height_improbable')
    return Height(metres, 'height_in_cm' if in_cm else '')


def read_heights(path: str) -> dict[str, float]:
    """{patient_id: height in m} of a CSV file; patients without a height are left out.

    Raises InputError unless there are the columns patient_id, and height_m or height_cm.
    """
    table = read_table(path)
    column = table.first_of(tuple(COLUMNS))
    if column is None or 'patient_id' not in table.header:
        raise InputError(
            f'{path}: the columns are {listed(map(repr, table.header))}; name them patient_id, and '
            'height_m or height_cm'
        )
    at = table.position(column)
    heights: dict[str, float] = {}
    for number, patient, row in zip(
        table.numbers, table.names_in('patient_id'), table.rows, strict=True
    ):
        text = row[at].strip()
        if not text:
            continue
        metres = number_in(text) / COLUMNS[column]
        if not LOWEST <= metres <= HIGHEST:
            raise InputError(
                f'{path}: row {number}, column {column}: {text[:20]!r} is not a height of '
                f'{LOWEST:g} to {HIGHEST:g} m; correct it, or leave it empty'
            )
        if heights.setdefault(patient, metres) != metres:
            raise InputError(
                f'{path}: row {number}: patient {patient} has another height in a row above; keep '
                'one'
            )
    return heights
