"""2x2 max pooling whose gradient needs one byte a window instead of the image."""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def max_pool(x):
    """2x2 maximum with stride 2: `[B, H, W, C]` to `[B, H/2, W/2, C]`.

    The gradient goes to the first of equal maxima, as in TensorFlow.
    """
    return _windows(x).max((2, 4))


def _forward(x):
    windows = _windows(x)
    largest = windows.max((2, 4))
    where = jnp.uint8(3)
    for place in (2, 1, 0):
        is_largest = windows[:, :, place // 2, :, place % 2] == largest
        where = jnp.where(is_largest, jnp.uint8(place), where)
    return largest, where


def _backward(where, dy):
    B, H, W, C = dy.shape
    places = jnp.arange(4, dtype=jnp.uint8).reshape(1, 1, 2, 1, 2, 1)
    dx = jnp.where(where[:, :, None, :, None] == places, dy[:, :, None, :, None], 0)
    return (dx.reshape(B, 2 * H, 2 * W, C),)


def _windows(x):
    B, H, W, C = x.shape
    return x.reshape(B, H // 2, 2, W // 2, 2, C)


max_pool.defvjp(_forward, _backward)
