"""Random rotation and shift of a slice and, if it has any, of its labels."""

from typing import Any

import jax
import jax.numpy as jnp

MAX_ROTATION = 5.0  # degrees
MAX_SHIFT = 0.05  # of each side

Example = dict[str, Any]


def rotate_and_shift(key: jax.Array, example: Example) -> Example:
    """One random affine map for a slice and its labels.

    The slice is interpolated linearly, in HU, like partial volume; the labels take the nearest
    neighbour, which keeps them labels. Outside the slice the nearest edge pixel repeats.

    Args:
      key: of jax.random.
      example: 'image' `[H, W]` of any real dtype, 'mask' `[H, W]` integers, and more.

    Returns:
      The example with 'image' float32 and 'mask' in its own dtype.
    """
    H, W = example['mask'].shape
    y, x = _source(key, H, W)
    y, x = y.clip(0, H - 1), x.clip(0, W - 1)
    return {
        **example,
        'image': _linear(example['image'], y, x),
        'mask': _nearest(example['mask'], y, x),
    }


def rotate_and_shift_slice(key: jax.Array, example: Example) -> Example:
    """The same map for a slice without labels; the outside is black.

    Args:
      key: of jax.random.
      example: 'image' `[H, W]` grey values, and more.

    Returns:
      The example with 'image' float32, interpolated linearly.
    """
    H, W = example['image'].shape
    y, x = _source(key, H, W)
    framed = jnp.pad(example['image'], 1)
    return {
        **example,
        'image': _linear(framed, (y + 1).clip(0, H + 1), (x + 1).clip(0, W + 1)),
    }


def identity(key: jax.Array, example: Example) -> Example:
    """No augmentation."""
    return example


def _source(key: jax.Array, H: int, W: int) -> tuple[jax.Array, jax.Array]:
    """The source of each output pixel: two `[H, W]` arrays of rows and columns."""
    u = jax.random.uniform(key, (3,), minval=-1.0, maxval=1.0)
    angle = u[0] * jnp.deg2rad(MAX_ROTATION)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    middle_y, middle_x = (H - 1) / 2, (W - 1) / 2
    y = jnp.arange(H)[:, None] - middle_y
    x = jnp.arange(W)[None, :] - middle_x
    source_y = cos * y - sin * x + (middle_y + u[1] * MAX_SHIFT * H)
    source_x = sin * y + cos * x + (middle_x + u[2] * MAX_SHIFT * W)
    return source_y, source_x


def _nearest(image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    return image[jnp.round(y).astype(jnp.int32), jnp.round(x).astype(jnp.int32)]


def _linear(image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    H, W = image.shape
    y0 = jnp.floor(y).astype(jnp.int32)
    x0 = jnp.floor(x).astype(jnp.int32)
    y1, x1 = jnp.minimum(y0 + 1, H - 1), jnp.minimum(x0 + 1, W - 1)
    fy, fx = y - y0, x - x0

    def at(rows, columns):
        return image[rows, columns].astype(jnp.float32)

    top = at(y0, x0) * (1 - fx) + at(y0, x1) * fx
    bottom = at(y1, x0) * (1 - fx) + at(y1, x1) * fx
    return top * (1 - fy) + bottom * fy
