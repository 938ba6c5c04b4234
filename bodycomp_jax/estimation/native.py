"""Labels on the pixels of a slice, from networks that see squares of one size."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.squares import from_square, square_image
from bodycomp_jax.data.table import Column
from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.result import Numbers
from bodycomp_jax.inference.predictors import Segmenter

AGREEMENT = {
    f'{tissue}_members_dice': Column(
        '1', f'mean Dice of {ct.spaced(tissue)} between the networks of an ensemble'
    )
    for tissue in ct.TISSUES
}


class Segmented(NamedTuple):
    """The labels of a slice.

    Attributes:
      labels: `[rows, columns]` uint8.
      agreement: {column of `AGREEMENT`: Dice}; None of a single network, and of a tissue that no
        network sees.
    """

    labels: np.ndarray
    agreement: Numbers


def segment(
    segmenter: Segmenter, members: Sequence[Segmenter], slices: Sequence[np.ndarray], side: int
) -> list[Segmented]:
    """Segments slices of any size.

    A slice is padded with air to a square and resized for the networks; the mean of their
    probabilities is brought back to its pixels, of which each gets the most probable label.

    Args:
      segmenter: whose options all networks share.
      members: its networks, of `Segmenter.members`.
      slices: `[rows, columns]` int16 HU each.
      side: of the squares.

    Raises InputError if the networks cannot take squares of this side.
    """
    if side % segmenter.size_divisor:
        raise InputError(
            f'--size={side}: the network takes multiples of {segmenter.size_divisor}; use one'
        )
    squares = np.stack([square_image(hu, side) for hu in slices])
    if not segmenter.config.apply_window_function:
        squares = ct.window(squares.astype(np.float32)).round()
    found = [member(squares, check_values=False)[0] for member in members]
    tissues = ct.tissues(segmenter.config.thoracic_model)
    return [
        _on_slice([probabilities[i] for probabilities in found], hu.shape, tissues)
        for i, hu in enumerate(slices)
    ]


def _on_slice(
    found: Sequence[np.ndarray], shape: tuple[int, int], tissues: Sequence[str]
) -> Segmented:
    """The labels by the mean of `[side, side, C]` probabilities, and how the members agree."""
    native = [
        np.stack([from_square(of_class, shape) for of_class in np.moveaxis(each, -1, 0)])
        for each in found
    ]
    mean = sum(native[1:], native[0]) / len(native)
    agreement: Numbers = dict.fromkeys(AGREEMENT)
    if len(native) > 1:
        votes = [each.argmax(0) for each in native]
        for label, tissue in enumerate(tissues, 1):
            agreement[f'{tissue}_members_dice'] = _mean_dice([vote == label for vote in votes])
    return Segmented(mean.argmax(0).astype(np.uint8), agreement)


def _mean_dice(pixels: Sequence[np.ndarray]) -> float | None:
    """The mean Dice of pairs; None if no pixel is in any."""
    if not any(each.any() for each in pixels):
        return None
    dice = [
        2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() or b.any() else 1.0
        for a, b in itertools.combinations(pixels, 2)
    ]
    return float(np.mean(dice))
