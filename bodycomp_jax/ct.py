"""Facts about CT that all parts share: the HU window, the tissues, pixel areas."""

import math
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import jax

Array = TypeVar('Array', np.ndarray, 'jax.Array')

AIR = -1024  # HU of what lies outside the field of view; no value is lower
WINDOW_CENTRE = 40  # HU
WINDOW_WIDTH = 400  # HU
WINDOW_LOWEST = WINDOW_CENTRE - WINDOW_WIDTH / 2  # HU
GREY_LEVELS = 256

TISSUES = ('muscle', 'subcutaneous_fat', 'visceral_fat')  # labels 1, 2, 3; label 0 is background
IN_MASKS = (*TISSUES, 'intermuscular_fat')  # some masks show fat in muscle apart
INTERMUSCULAR_FAT = 4  # its label
MAX_SIDE = 8192  # pixels; a file that says more is damaged
NOT_LABELLED = 255  # the label of pixels that nobody labelled


def tissues(thoracic: bool) -> tuple[str, ...]:
    """Names of the labels 1, 2, ...; thoracic models have no visceral fat."""
    return TISSUES[:2] if thoracic else TISSUES


def spaced(name: str) -> str:
    """The name of a tissue, or of another thing, for people."""
    return name.replace('_', ' ')


def window(hu: Array) -> Array:
    """Maps HU to grey values: the soft-tissue window 40/400 to 0..255, clipped.

    The factor is 256/400, not 255/400, as in the training of the published weights.

    Args:
      hu: array of any shape, in Hounsfield units.

    Returns:
      Array of the same shape, floats in 0..255.
    """
    return ((hu - WINDOW_LOWEST) * (GREY_LEVELS / WINDOW_WIDTH)).clip(0, GREY_LEVELS - 1)


def unwindow(grey: Array) -> Array:
    """The inverse of `window` within 0..255: grey values to HU."""
    return grey * (WINDOW_WIDTH / GREY_LEVELS) + WINDOW_LOWEST


def area_cm2(labels: Array, label: int, pixel_spacing_mm: tuple[float, float]) -> Array:
    """Area of a label in each slice.

    Args:
      labels: `[..., H, W]` integers.
      label: the label to measure, for example 1 for muscle.
      pixel_spacing_mm: (row, column) distance between pixel centres in mm, as in DICOM's
        PixelSpacing (0028,0030).

    Returns:
      `[...]` areas in cm2.

    Raises ValueError unless labels, label and spacing are of these types, and the spacing is
    positive.
    """
    if labels.dtype.kind not in 'biu' or not isinstance(label, numbers.Integral):
        raise ValueError(
            f'invalid labels of type {labels.dtype} or label {label!r}: expected the integer '
            'labels of a prediction, not its probabilities, and one number of a tissue, such as 1'
        )
    if not _is_spacing(pixel_spacing_mm):
        raise ValueError(
            f'invalid pixel_spacing_mm={pixel_spacing_mm!r}: expected two positive numbers of mm, '
            '(row, column), such as (0.78, 0.78); an affine matrix may give them a sign'
        )
    row_mm, column_mm = pixel_spacing_mm
    return (labels == label).sum((-2, -1)) * (row_mm * column_mm / 100)


def slices_last(shape: Sequence[int]) -> bool:
    """Whether an array looks like `[H, W, slices]`, as NIfTI readers give it: a square comes first.

    Slices are square in training, so that `[slices, H, W]` ends with two equal numbers.
    """
    return len(shape) >= 3 and shape[0] == shape[1] != shape[2]


def _is_spacing(spacing: object) -> bool:
    try:
        values = [*spacing]  # type: ignore[misc]
    except TypeError:
        return False
    real = all(isinstance(mm, numbers.Real) for mm in values)
    return len(values) == 2 and real and all(0 < mm < math.inf for mm in values)
