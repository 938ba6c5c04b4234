"""Pooling.

The backward pass of a maximum stores one byte per window instead of the image. The first of equal
maxima receives the gradient, as in TensorFlow.
"""

import functools

import jax
import jax.numpy as jnp

from bodycomp_jax.models.layers.cells import PIXEL, Cell


def max_pool(x: jax.Array, cell: Cell = PIXEL) -> jax.Array:
    """2x2 maximum with stride 2: `[B, H, W, C]` to `[B, H/2, W/2, C]`.

    Of cells to cells that are halved.
    """
    return _max_pool(x) if cell == PIXEL else _max_pool_of_cells(x, cell)


@jax.custom_vjp
def _max_pool(x):
    """By windows: with slices as of cells it takes a third longer on CPU."""
    return _windows(x).max((2, 4))


def _forward(x):
    windows = _windows(x)
    largest = windows.max((2, 4))
    places = [windows[:, :, i, :, j] for i in (0, 1) for j in (0, 1)]
    return largest, _first_equal(places, largest)


def _backward(where, dy):
    B, H, W, C = dy.shape
    places = jnp.arange(4, dtype=jnp.uint8).reshape(1, 1, 2, 1, 2, 1)
    dx = jnp.where(where[:, :, None, :, None] == places, dy[:, :, None, :, None], 0)
    return (dx.reshape(B, 2 * H, 2 * W, C),)


def _windows(x):
    B, H, W, C = x.shape
    return x.reshape(B, H // 2, 2, W // 2, 2, C)


_max_pool.defvjp(_forward, _backward)


def maxima_and_places(x: jax.Array, cell: Cell) -> tuple[jax.Array, jax.Array]:
    """`max_pool` of cells, and the place of each maximum in its window, 0 to 3, row by row."""
    places = _places_in(x, cell)
    largest = functools.reduce(jnp.maximum, places)
    return largest, _first_equal(places, largest)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool_of_cells(x, cell):
    return maxima_and_places(x, cell)[0]


def _backward_of_cells(cell, where, dy):
    upper, lower = (
        _joined([jnp.where(where == place, dy, 0) for place in places], 2, cell.width)
        for places in ((0, 1), (2, 3))
    )
    return (_joined([upper, lower], 1, cell.height),)


def _places_in(x, cell):
    """The pixels at each of the four places of all windows, row by row."""
    return [place for row in _halves(x, 1, cell.height) for place in _halves(row, 2, cell.width)]


def _halves(x, axis, length):
    """Every second pixel along an axis, and the others; those within a cell are channels."""
    if length > 1:
        return jnp.split(x, 2, axis=-1)
    return [jax.lax.slice_in_dim(x, i, None, 2, axis) for i in (0, 1)]


def _joined(halves, axis, length):
    """The way back of `_halves`."""
    if length > 1:
        return jnp.concatenate(halves, axis=-1)
    pairs = jnp.stack(halves, axis + 1)
    return pairs.reshape(*halves[0].shape[:axis], -1, *halves[0].shape[axis + 1 :])


_max_pool_of_cells.defvjp(maxima_and_places, _backward_of_cells)


def _first_equal(places, largest):
    """The number of the first of several arrays that equals the largest values."""
    where = jnp.uint8(len(places) - 1)
    for place, values in reversed([*enumerate(places)][:-1]):
        where = jnp.where(values == largest, jnp.uint8(place), where)
    return where


def mean_pool(x: jax.Array) -> jax.Array:
    """2x2 mean with stride 2, without the last of an odd number of rows or columns."""
    H, W = (n // 2 * 2 for n in x.shape[1:3])
    places = [x[:, i:H:2, j:W:2] for i in (0, 1) for j in (0, 1)]
    return functools.reduce(jnp.add, places) / 4


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def overlapping_max_pool(x: jax.Array, platform: str) -> jax.Array:
    """3x3 maximum with stride 2, no padding: `[B, H, W, C]` to `[B, (H-1)//2, (W-1)//2, C]`.

    Written for the speed of the platform, 'cpu', 'gpu' or 'tpu'; the result is the same.
    """
    return functools.reduce(jnp.maximum, _places(x))


def _overlapping_forward(x, platform):
    largest = overlapping_max_pool(x, platform)
    return largest, (_first_equal(_places(x), largest), x.shape[1:3])


def _overlapping_backward(platform, saved, dy):
    where, (H, W) = saved
    window = (1, 1), (1, 1), (0, 0)  # a margin of one window
    # Stored, as otherwise XLA would compute dy again for each of the nine places: on CPU by a loop.
    if platform == 'cpu':
        dy = jax.lax.map(lambda image: jnp.pad(image, window), dy)
    else:
        dy = jax.lax.optimization_barrier(jnp.pad(dy, ((0, 0), *window)))
    return (_to_places(jnp.pad(where, ((0, 0), *window)), dy)[:, :H, :W],)


def _to_places(where, dy):
    """What each pixel receives, `[B, 2h - 2, 2w - 2, C]`.

    where, the place of each maximum, and dy are `[B, h, w, C]`, with a margin of one window.
    """
    B, h, w, C = dy.shape

    def part(place, down, right):  # of what a place of all windows receives
        inside = slice(None), slice(down, down + h - 1), slice(right, right + w - 1)
        return jnp.where(where[inside] == place, dy[inside], 0)

    # An even row is the first of a window and the last of the one above, an odd row the middle of
    # one: (row in the window, its window). The same holds for columns.
    phases = (((0, 1), (2, 0)), ((1, 1),))
    rows = [
        [sum(part(3 * i + j, down, right) for i, down in rows for j, right in columns)
         for columns in phases]
        for rows in phases
    ]  # fmt: skip
    dx = jnp.stack([jnp.concatenate(row, axis=-1) for row in rows], axis=2)
    return dx.reshape(B, 2 * h - 2, 2 * w - 2, C)


def _places(x):
    """The pixels at each of the nine places of all 3x3 windows, row by row."""
    h, w = ((n - 1) // 2 for n in x.shape[1:3])
    return [x[:, i : i + 2 * h - 1 : 2, j : j + 2 * w - 1 : 2] for i in range(3) for j in range(3)]


overlapping_max_pool.defvjp(_overlapping_forward, _overlapping_backward)
