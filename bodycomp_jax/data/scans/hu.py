"""From the numbers in a file to HU."""

import numpy as np

from bodycomp_jax.errors import InputError

AIR = -1024  # HU of what lies outside the body, or the field of view
LOWEST, HIGHEST = -11000, 12000  # HU that scanners write, extended scales for metal included
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


def looks_like_hu(lowest: float, highest: float) -> bool:
    """Whether an image with this range of values can be CT in HU: there is fat or air, and more."""
    return LOWEST <= lowest <= FAT and 0 <= highest <= HIGHEST


def _is_offset(intercept: float, dtype: np.dtype) -> bool:
    """Whether 16-bit numbers can hold air before the intercept is added, and the intercept."""
    if dtype not in (np.int16, np.uint16) or not float(intercept).is_integer():
        return False
    limits = np.iinfo(dtype)
    return limits.min <= AIR - intercept <= limits.max and abs(intercept) <= np.iinfo(np.int16).max
