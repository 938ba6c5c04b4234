"""Pixels taken from where a slice was, and means over neighbours.

By index on GPU, and in bands on CPU; by products on TPU.

Indices that differ from pixel to pixel are loops over single pixels on a TPU. There, products with
matrices of ones and zeros take the same pixels: the numbers are the same, bit for bit.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

BANDS = 4  # of the result, on CPU
HEIGHT, WIDTH = 32, 64  # of the parts of the result that products make
UNROLLED = 16  # steps that a GPU takes while it passes over an image once
ROWS = 16  # of bfloat16 that a TPU keeps together

Take = Callable[[jax.Array, jax.Array], jax.Array]  # rows, columns -> pixels
Sample = Callable[[Take, tuple[int, ...], jax.Array, jax.Array], jax.Array]


def nearest(take: Take, shape: tuple[int, ...], y: jax.Array, x: jax.Array) -> jax.Array:
    """The pixels nearest to positions within an image of `shape`."""
    return take(jnp.round(y).astype(jnp.int32), jnp.round(x).astype(jnp.int32))


def linear(take: Take, shape: tuple[int, ...], y: jax.Array, x: jax.Array) -> jax.Array:
    """The image of `shape` at positions within it, interpolated linearly: float32."""
    H, W = shape
    y0 = jnp.floor(y).astype(jnp.int32)
    x0 = jnp.floor(x).astype(jnp.int32)
    y1, x1 = jnp.minimum(y0 + 1, H - 1), jnp.minimum(x0 + 1, W - 1)
    fy, fx = y - y0, x - x0

    def at(rows, columns):
        return take(rows, columns).astype(jnp.float32)

    top = at(y0, x0) * (1 - fx) + at(y0, x1) * fx
    bottom = at(y1, x0) * (1 - fx) + at(y1, x1) * fx
    return top * (1 - fy) + bottom * fy


def by_index(sample: Sample, image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """An image `[H, W]` sampled (`nearest`, `linear`) at positions `[h, w]` within it."""
    return sample(lambda rows, columns: image[rows, columns], image.shape, y, x)


def by_bands(sample: Sample, image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """`by_index`, band by band of the result.

    XLA on CPU would otherwise sample a pixel again for each of its uses; the result of a loop is
    stored.
    """
    bands = BANDS if len(y) % BANDS == 0 else 1

    def band(places):
        return by_index(sample, image, *places)

    places = tuple(v.reshape(bands, -1, v.shape[1]) for v in (y, x))
    return jax.lax.map(band, places).reshape(y.shape)


def by_products(
    sample: Sample,
    image: jax.Array,
    y: jax.Array,
    x: jax.Array,
    *,
    reach: Callable[[int, int], int],
) -> jax.Array:
    """The same by products, part by part of the result.

    Args:
      sample: `nearest` or `linear`.
      image: `[H, W]` finite numbers, integers of up to 24 bits or floats of up to 32, which are
        exact down to 2**-126.
      y, x: `[h, w]` positions within the image.
      reach: length and breadth of a part of the result -> how many rows of the image, or columns
        along its breadth, `sample` takes for it at most.

    Returns:
      `[h, w]` float32.
    """
    h, w = y.shape
    margins = (0, -h % HEIGHT), (0, -w % WIDTH)
    y, x = (jnp.pad(v, margins, mode='edge') for v in (y, x))
    pieces = _pieces(image)

    def part(window, y, x):
        window, y = _cut(window, 1, y, reach(HEIGHT, WIDTH))
        window, x = _cut(window, 2, x, reach(WIDTH, HEIGHT))
        return sample(lambda *places: _taken(window, *places), window.shape[1:], y, x)

    def band(places):
        y, x = places
        window, y = _cut(pieces, 1, y, reach(*y.shape))
        y, x = (v.reshape(HEIGHT, -1, WIDTH) for v in (y, x))
        return jax.vmap(part, in_axes=(None, 1, 1), out_axes=1)(window, y, x).reshape(HEIGHT, -1)

    bands = jax.lax.map(band, tuple(v.reshape(-1, HEIGHT, v.shape[1]) for v in (y, x)))
    return bands.reshape(y.shape)[:h, :w]


def means(image: jax.Array, reach: int, reached: Callable, *, platform: str) -> jax.Array:
    """Each pixel as a weighted mean of its column, then of its row; the edge repeats.

    Args:
      image: `[H, W]` float32.
      reach: how many pixels to each side have weights.
      reached: centre of a pixel, x -> sum of its weights from minus infinity to x; pixel j is
        from x = j to j + 1.
      platform: 'tpu' for means by products, else by a loop, unrolled for 'gpu'; they are equal to
        rounding.
    """
    by_loop = functools.partial(_means_by_loop, unroll=UNROLLED if platform == 'gpu' else None)
    of_columns = _means_by_products if platform == 'tpu' else by_loop
    return of_columns(of_columns(image, reach, reached).T, reach, reached).T


def _pieces(image: jax.Array) -> jax.Array:
    """`[P, H, W]` bfloat16 that add up to an image, in any order without rounding."""
    if jnp.issubdtype(image.dtype, jnp.integer):
        whole = image.astype(jnp.int32)
        *lower, highest = range(0, 8 * image.dtype.itemsize, 8)
        pieces = [whole & (255 << bit) for bit in lower] + [whole & (-1 << highest)]
    else:
        rest, pieces = image.astype(jnp.float32), []
        for _ in range(0, jnp.finfo(image.dtype).nmant + 1, 8):
            upper_half = jax.lax.bitcast_convert_type(rest, jnp.uint32) & jnp.uint32(0xFFFF0000)
            pieces.append(jax.lax.bitcast_convert_type(upper_half, jnp.float32))
            rest = rest - pieces[-1]
    return jnp.stack(pieces).astype(jnp.bfloat16)


def _cut(
    window: jax.Array, axis: int, positions: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """`size` rows or columns of `[P, K, L]` from the first that positions need; positions there.

    The first is an even one, as halves are rounded to even numbers.
    """
    length = window.shape[axis]
    size = -(-(size + 1) // ROWS) * ROWS
    size += (length - size) % 2
    if size >= length:
        return window, positions
    first = (positions.min().astype(jnp.int32) // 2 * 2).clip(0, length - size)
    kept = first + jnp.arange(size)[:, None] == jnp.arange(length)[None, :]
    product = 'kK,pKL->pkL' if axis == 1 else 'lL,pkL->pkl'
    window = jnp.einsum(
        product, kept.astype(window.dtype), window, preferred_element_type=window.dtype
    )
    return window, positions - first


def _taken(window: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """The pixels of `[P, K, L]`, the pieces added up, at `[r, c]` rows and columns: float32."""
    P, K, L = window.shape
    is_column = jnp.arange(P * L)[:, None] % L == columns.reshape(1, -1)
    of_columns = jnp.dot(
        jnp.concatenate(list(window), axis=1),
        is_column.astype(window.dtype),
        preferred_element_type=jnp.float32,
    )
    is_row = jnp.arange(K)[:, None] == rows.reshape(1, -1)
    return jnp.where(is_row, of_columns, 0).sum(0).reshape(rows.shape)


def _means_by_loop(
    image: jax.Array, reach: int, reached: Callable, *, unroll: int | None
) -> jax.Array:
    H = len(image)
    padded = jnp.pad(image, ((reach, reach), (0, 0)), mode='edge')
    rows = jnp.arange(H)[:, None]

    def add(step, sums):
        weighted, weights, before = sums
        up_to = reached(rows + 0.5, rows + (step - reach) + 1.0)
        pixels = jax.lax.dynamic_slice_in_dim(padded, step, H)
        return weighted + (up_to - before) * pixels, weights + (up_to - before), up_to

    # A loop, as otherwise XLA on CPU computes a pixel again for each pixel that is made of it.
    # Factors, no divisors: with one slice a device, and only then, XLA multiplies by the reciprocal
    # of a divisor that is one number, and the pixels would depend on the number of devices.
    start = jnp.zeros(image.shape), jnp.zeros((H, 1)), reached(rows + 0.5, rows - reach + 0.0)
    weighted, weights, _ = jax.lax.fori_loop(0, 2 * reach + 1, add, start, unroll=unroll)
    mean = weighted * (1 / weights)
    # Behind a barrier, as what is unrolled would be computed again for each use, too.
    return jax.lax.optimization_barrier(mean) if unroll else mean


def _means_by_products(image: jax.Array, reach: int, reached: Callable) -> jax.Array:
    H = len(image)
    rows, columns = jnp.arange(H)[:, None], jnp.arange(H)[None, :]

    def sums_to(j):  # the first and the last pixel repeat
        j = jnp.where(j == 0, -reach, jnp.where(j == H, H + reach, j))
        return reached(rows + 0.5, j.clip(rows - reach, rows + reach + 1) + 0.0)

    weights = sums_to(columns + 1) - sums_to(columns)
    # Behind barriers, as what XLA fuses with a product is slow, and slow to compile.
    weights = jax.lax.optimization_barrier(weights * (1 / weights.sum(1, keepdims=True)))
    product = jnp.matmul(weights, image, precision=jax.lax.Precision.HIGHEST)
    return jax.lax.optimization_barrier(product)
