"""Slices of any matrix on a square of one side, and back."""

import jax
import jax.numpy as jnp


def to_square(images: jax.Array, side: int, outside: float = 0) -> jax.Array:
    """`[B, H, W, C]` as `[B, side, side, C]`; slices that have this shape are returned as they are.

    Other shapes than squares get a margin of the value `outside`. Where a pixel covers several
    whole ones it is their mean; else the slices are interpolated linearly, by a wider kernel where
    pixels become larger, so that nothing aliases.
    """
    B, H, W, C = images.shape
    longest = max(H, W)
    if H != W:
        margins = ((0, 0), _margin(H, longest), _margin(W, longest), (0, 0))
        images = jnp.pad(images, margins, constant_values=outside)
    if longest == side:
        return images
    if longest % side == 0:
        n = longest // side
        return images.reshape(B, side, n, side, n, C).mean((2, 4))
    return jax.image.resize(images, (B, side, side, C), 'linear')


def from_square(values: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """`[B, side, side, C]` as `[B, H, W, C]` for `(H, W)`, the way back of `to_square`.

    Values between pixels are interpolated linearly.
    """
    B, side, _, C = values.shape
    H, W = shape
    longest = max(shape)
    if longest != side:
        values = jax.image.resize(values, (B, longest, longest, C), 'linear')
    top, left = _margin(H, longest)[0], _margin(W, longest)[0]
    return values[:, top : top + H, left : left + W]


def _margin(length: int, longest: int) -> tuple[int, int]:
    """Pixels before and after a side in the middle of a longer one."""
    before = (longest - length) // 2
    return before, longest - length - before
