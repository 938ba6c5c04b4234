"""From the numbers in a file to HU."""

import math
from typing import NamedTuple

import numpy as np

from bodycomp_jax.ct import AIR
from bodycomp_jax.errors import InputError

LOWEST, HIGHEST = -11000, 12000  # HU; some extended scales for metal go on to 30710
FAT = -50  # HU below which every CT of a body has pixels; masks and other pictures have none


def to_hu(
    stored: np.ndarray, slope: float, intercept: float, padding: np.ndarray | None = None
) -> np.ndarray:
    """HU as int16, at least -1024, and -1024 where there are none.

    Args:
      stored: the numbers in a file, of any shape; NaN where there are none.
      slope, intercept: from those numbers to HU.
      padding: bool of that shape; where there are none as well.

    Raises InputError for HU that no scanner writes.
    """
    if slope == 1 and _is_offset(intercept, stored.dtype):
        hu, offset = stored, int(intercept)
    else:
        hu, offset = stored * np.float64(slope) + intercept, 0
        hu[np.isnan(hu)] = AIR
    air = hu.dtype.type(AIR - offset)
    if padding is not None:
        hu = np.where(padding, air, hu)
    lowest, highest = hu.min().item() + offset, hu.max().item() + offset
    if lowest < LOWEST or highest > HIGHEST:
        raise InputError(
            f'values from {lowest:g} to {highest:g} HU; expected {LOWEST} to {HIGHEST}: the file '
            'is damaged, or its rescale slope and intercept are wrong'
        )
    hu = np.maximum(hu, air)
    if hu.dtype.kind == 'f':
        np.rint(hu, out=hu)
    hu = hu.astype(np.int16, copy=False)  # wraps where the offset will wrap it back
    hu += np.int16(offset)
    return hu


class Span(NamedTuple):
    """What values an image has, without NaN.

    Attributes:
      lowest, highest: of all values.
      lowest_inside: of those above -1024, as padding is not.
    """

    lowest: float = math.inf
    lowest_inside: float = math.inf
    highest: float = -math.inf

    @classmethod
    def of(cls, values: np.ndarray) -> 'Span':
        """Of numbers in an array of any shape."""
        lowest, highest = (float(end.reduce(values, axis=None)) for end in (np.fmin, np.fmax))
        inside = values[values > AIR]
        if math.isnan(lowest):
            return cls()
        return cls(lowest, float(inside.min()) if inside.size else math.inf, highest)

    def joined(self, other: 'Span') -> 'Span':
        """Of both images."""
        lowest, inside, highest = zip(self, other, strict=True)
        return Span(min(lowest), min(inside), max(highest))

    @property
    def fault(self) -> str:
        """Why the image cannot be CT in HU; '' if it can: there is fat or air, and more."""
        if self.lowest == math.inf:
            why = 'all are NaN'
        elif self.lowest < LOWEST:
            why = f'HU are at least {LOWEST}; write {AIR} where there is no image'
        elif self.highest > HIGHEST:
            why = f'HU are at most {HIGHEST}'
        elif self.lowest_inside > FAT or self.highest < 0:
            why = (
                f'above {AIR} they begin at {self.lowest_inside:g}, HU below {FAT} in fat and air; '
                'a mask, or an image that was rescaled'
            )
        else:
            return ''
        return f'values from {self.lowest:g} to {self.highest:g} do not look like HU: {why}'


def _is_offset(intercept: float, dtype: np.dtype) -> bool:
    """Whether 16-bit numbers can hold air before the intercept is added, and the intercept."""
    if dtype not in (np.int16, np.uint16) or not float(intercept).is_integer():
        return False
    limits = np.iinfo(dtype)
    return limits.min <= AIR - intercept <= limits.max and abs(intercept) <= np.iinfo(np.int16).max
