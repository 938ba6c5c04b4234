"""What is measured of a tissue in a slice, predicted and labelled."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.metrics import surfaces

COUNTS = ('intersection', 'predicted', 'labelled')  # pixels
OF_BOTH = (*COUNTS, 'dice', *(f'surface_dice_{t}' for t in surfaces.TOLERANCES), 'hd95')
MEASURED = ('area', 'mean')  # of the prediction, and of the labels
NUMBERS = (
    *OF_BOTH, 'area_error', *MEASURED, *(f'labelled_{name}' for name in MEASURED),
)  # fmt: skip


class Region(NamedTuple):
    """A tissue in a slice.

    Attributes:
      pixels: `[H, W]` booleans.
      outline: its outline.
      area: its area.
      mean: of its HU; NaN if there is none of it.
    """

    pixels: np.ndarray
    outline: surfaces.Outline
    area: float
    mean: float


def regions(
    labels: np.ndarray,
    hu: np.ndarray,
    *,
    spacing: tuple[float, float],
    pixel_area: float,
    tissues: Sequence[str],
) -> list[Region]:
    """The region of each tissue in a slice.

    Args:
      labels: `[H, W]` integers.
      hu: `[H, W]` of the same pixels.
      spacing: between rows, and between columns.
      pixel_area: of a pixel, in any unit.
      tissues: names of the labels 1, 2, ...
    """
    found = []
    for label in range(1, 1 + len(tissues)):
        pixels = labels == label
        values = hu[pixels]
        found.append(
            Region(
                pixels,
                surfaces.outline(pixels, spacing),
                values.size * pixel_area,
                float(values.mean(dtype=float)) if values.size else math.nan,
            )
        )
    return found


def without_unlabelled(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The labels; background where the mask says that nobody labelled."""
    return np.where(mask == ct.NOT_LABELLED, 0, labels)


def compare(predicted: Region, labelled: Region) -> list[float]:
    """`NUMBERS` of a tissue; Dice and surfaces are NaN where nothing is labelled."""
    I, P, T = (
        int(np.count_nonzero(pixels))
        for pixels in (predicted.pixels & labelled.pixels, predicted.pixels, labelled.pixels)
    )
    overlap = [math.nan] * (len(OF_BOTH) - len(COUNTS))
    if T:
        surface = surfaces.compare(predicted.outline, labelled.outline)
        overlap = [2 * I / (P + T), *surface.values()]
    error = abs(predicted.area - labelled.area)
    return [
        *(I, P, T), *overlap, error, predicted.area, predicted.mean,
        labelled.area, labelled.mean,
    ]  # fmt: skip
