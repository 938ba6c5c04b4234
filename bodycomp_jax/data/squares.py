"""Slices and masks of any matrix on a square of a given side, and back."""

import numpy as np
from PIL import Image

from bodycomp_jax.config import DENSENET_SIDE, MAX_NETWORK_SIDE
from bodycomp_jax.ct import AIR, window
from bodycomp_jax.errors import InputError


def refuse_invalid_size(side: int) -> None:
    """Raises InputError for a --size that no square can have."""
    if not 0 < side <= MAX_NETWORK_SIDE:
        raise InputError(f'invalid --size={side}: use a number in 1..{MAX_NETWORK_SIDE}')


def padded(image: np.ndarray, value: int) -> np.ndarray:
    """`[H, W]` as a square around the middle, the rest filled with a value."""
    H, W = image.shape
    side = max(H, W)
    top, left = (side - H) // 2, (side - W) // 2
    return np.pad(image, ((top, side - H - top), (left, side - W - left)), constant_values=value)


def square_image(hu: np.ndarray, side: int) -> np.ndarray:
    """`[H, W]` int16 HU as `[side, side]`.

    Padded with air to a square around the middle, then resized linearly; where pixels become
    larger, by the mean of those they cover, weighted by a triangle, so that nothing aliases.
    """
    square = padded(hu, AIR)
    if len(square) == side:
        return square
    picture = Image.fromarray(square.astype(np.float32))
    resized = picture.resize((side, side), Image.Resampling.BILINEAR)
    return np.rint(np.asarray(resized)).astype(np.int16)


def square_mask(labels: np.ndarray, side: int) -> np.ndarray:
    """`[H, W]` labels as `[side, side]`: padded with background, then the nearest label."""
    square = padded(labels, 0)
    nearest = (np.arange(side) * 2 + 1) * len(square) // (2 * side)
    return square[nearest[:, None], nearest]


def selection_square(hu: np.ndarray) -> np.ndarray:
    """`[H, W]` HU as the slice-selection network sees them: `[256, 256]` uint8 grey values.

    Windowed, then resized, as the pictures of its training sets are.
    """
    return at_selection_size(window(hu.astype(np.float32)).round().astype(np.uint8))


def at_selection_size(image: np.ndarray) -> np.ndarray:
    """`[H, W]` uint8 as `[256, 256]`: within a black margin if it is not square.

    Area means where it shrinks, linear where it grows.
    """
    square = padded(image, 0)
    shrinks = len(square) >= DENSENET_SIDE
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    picture = Image.fromarray(square).resize((len(square), DENSENET_SIDE), method)
    return np.asarray(picture.resize((DENSENET_SIDE, DENSENET_SIDE), method))


def from_square(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`[side, side]` values on the pixels of a slice `(H, W)`: the way back of `square_image`.

    Returns:
      `[H, W]` float32.
    """
    H, W = shape
    side = max(shape)
    square = values.astype(np.float32, copy=False)
    if len(square) != side:
        picture = Image.fromarray(square)
        square = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))
    top, left = (side - H) // 2, (side - W) // 2
    return square[top : top + H, left : left + W]


def square_spacing(
    shape: tuple[int, int], spacing: tuple[float, float], side: int
) -> tuple[float, float]:
    """mm between the rows and the columns of a slice `(H, W)` on a square."""
    scale = max(shape) / side
    return spacing[0] * scale, spacing[1] * scale
