"""From the numbers in a file to HU."""

import numpy as np

from bodycomp_jax.errors import InputError

AIR = -1024  # HU of what lies outside the body, or the field of view
LOWEST, HIGHEST = -11000, 12000  # HU that scanners write, extended scales for metal included
FAT = -50  # HU below which every CT of a body has pixels; masks and other pictures have none


def rescaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """HU of numbers in a file, as int32 where that is exact."""
    if stored.dtype.itemsize <= 2 and slope == 1 and float(intercept).is_integer():
        return np.add(stored, int(intercept), dtype=np.int32)
    return stored * slope + intercept


def as_int16(hu: np.ndarray, padding: np.ndarray | None = None) -> np.ndarray:
    """HU as int16, at least -1024, and -1024 where there are none.

    Args:
      hu: any shape; NaN where there are none.
      padding: bool of that shape; where there are none as well.

    Raises InputError for values that no scanner writes.
    """
    if hu.dtype.kind == 'f':
        hu = np.where(np.isnan(hu), AIR, hu)
    if padding is not None:
        hu = np.where(padding, AIR, hu)
    lowest, highest = hu.min(), hu.max()
    if lowest < LOWEST or highest > HIGHEST:
        raise InputError(
            f'values from {lowest:g} to {highest:g} HU; expected {LOWEST} to {HIGHEST}: the file '
            'is damaged, or its rescale slope and intercept are wrong'
        )
    hu = np.maximum(hu, AIR)
    return (np.rint(hu) if hu.dtype.kind == 'f' else hu).astype(np.int16)


def looks_like_hu(lowest: float, highest: float) -> bool:
    """Whether an image with this range of values can be CT in HU: there is fat or air, and more."""
    return LOWEST <= lowest <= FAT and 0 <= highest <= HIGHEST
