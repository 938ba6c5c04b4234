"""The distance of the pixels of slices, and so the units of what is measured."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.table import number_in
from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.units import SPACING, About, place_of

MM2_PER_CM2 = 100
MAX_MM = 100.0  # of a pixel


class Spacing(NamedTuple):
    """The distance of the pixels of each slice.

    Attributes:
      length, area: units of distances and areas.
      values: `[N, 2]` distance of rows, of columns.
      per_area: how many squares of `length` are one of `area`.
      source: where the distance is from, a sentence.
    """

    length: str
    area: str
    values: np.ndarray
    per_area: int
    source: str

    def pixel_area(self, i: int) -> float:
        """The area of a pixel of slice i."""
        return float(self.values[i].prod() / self.per_area)


def read_spacing(about: About, pixel_mm: float | None) -> Spacing:
    """The spacing of slices.

    Args:
      about: the slices.
      pixel_mm: of those whose distance no table gives.

    Raises InputError for values that are no distance, and where only some slices have one.
    """
    found = np.array([[_distance(row, column) for column in SPACING] for row in about])
    unknown = np.isnan(found).any(1)
    if pixel_mm is not None:
        found[unknown] = pixel_mm
        source = f'The distance of the pixels is --pixel_mm={pixel_mm:g}'
        source += '.' if unknown.all() else ', where slices.csv has none.'
        return Spacing('mm', 'cm2', found, MM2_PER_CM2, source)
    if unknown.all():
        source = (
            f'The distance of the pixels is not known (no {" and ".join(SPACING)} in slices.csv, '
            'no --pixel_mm): distances and areas are in pixels.'
        )
        return Spacing('pixels', 'pixels', np.ones_like(found), 1, source)
    if unknown.any():
        first = about[int(unknown.argmax())]
        raise InputError(
            f'{unknown.sum()} of {len(about)} slices, such as {place_of(first)}, have no '
            f'{" and ".join(SPACING)} in slices.csv; fill the columns, or give --pixel_mm for them'
        )
    return Spacing('mm', 'cm2', found, MM2_PER_CM2, 'The distance of the pixels is in slices.csv.')


def _distance(row: Mapping[str, str], column: str) -> float:
    """mm; NaN if there is none."""
    text = row.get(column, '')
    if not text:
        return math.nan
    mm = number_in(text)
    if not 0 < mm < MAX_MM:
        raise InputError(
            f'{place_of(row)} has the {column} {text!r} in slices.csv; give mm such as 0.78, or '
            'nothing'
        )
    return mm
