"""The 3x3 convolutions of the U-Net: of an image, of one upsampled 2x, and of its 2x2 maxima.

At full resolution with few channels they are bound by memory traffic and, on CPU, by the gradient
of the kernel, which there is a matrix product.

The upsampled image is never stored. Two of the three kernel rows multiply the same row of the small
image wherever they are, and are summed: 4/9 of the operations are left. The same holds for columns.

A TPU keeps few channels in whole lanes of 128, and joins them slowly. There the gradient of maxima
is not joined from those of the four places in a window: the transposed convolution, with its kernel
repeated for the four quarters of the channels, writes them all at once.
"""

import functools

import jax
import jax.numpy as jnp

from bodycomp_jax.models.layers.cell_convolution import convolve_cells
from bodycomp_jax.models.layers.cells import PIXEL, Cell
from bodycomp_jax.models.layers.convolution import PRECISION, convolve, sum_of_products
from bodycomp_jax.models.layers.pooling import max_pool, maxima_and_places

# Input channels times output channels from which, on CPU, the gradient of a 3x3 kernel is a matrix
# product. On two cores of an EPYC, jax 0.10, a step of the default network takes 5 % less time so
# with two images, the same with eight, and 15 % more memory.
MATMUL_FROM = 16 * 32


def conv(
    x: jax.Array, kernel: jax.Array, platform: str, cell: Cell = PIXEL, to: Cell = PIXEL
) -> jax.Array:
    """3x3 convolution with zero padding: `[B, H, W, C]` to `[B, H, W, O]`, each in its cells.

    Args:
      x: `[B, H, W, C]`; its type is that of the arithmetic and the result.
      kernel: `[3, 3, C, O]`, of any float type.
      platform: 'cpu', 'gpu' or 'tpu', for whose speed it is written; the result is the same.
      cell, to: of x and of the result; on a CPU both are `PIXEL`.
    """
    if platform != 'cpu':
        return convolve_cells(x, kernel, cell, to)
    kernel = kernel.astype(x.dtype)
    if kernel.shape[2] * kernel.shape[3] >= MATMUL_FROM:
        return _convolve(x, kernel)
    return convolve(x, kernel)


@jax.custom_vjp
def _convolve(x, kernel):
    """`convolve`; the gradient of the kernel is a product of matrices."""
    return convolve(x, kernel)


def _convolve_forward(x, kernel):
    return convolve(x, kernel), (x, kernel)


def _convolve_backward(saved, dy):
    x, kernel = saved
    (dx,) = jax.linear_transpose(lambda x: convolve(x, kernel), x)(dy)
    return dx, _kernel_gradient(x, dy).astype(kernel.dtype)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _kernel_gradient(x, dy):
    """Three shifts of x along W times three shifts of dy along H, summed over all pixels."""
    H, W = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    dy = jnp.pad(dy, ((0, 0), (1, 1), (0, 0), (0, 0)))
    C, O = x.shape[-1], dy.shape[-1]
    x = jnp.concatenate([x[:, :, j : j + W] for j in range(3)], axis=-1)
    dy = jnp.concatenate([dy[:, 2 - i : 2 - i + H] for i in range(3)], axis=-1)
    return sum_of_products(x, dy).reshape(3, C, 3, O).transpose(2, 0, 1, 3)


def conv_of_maxima(
    x: jax.Array, kernel: jax.Array, platform: str, cell: Cell = PIXEL, to: Cell = PIXEL
) -> jax.Array:
    """`conv` of the 2x2 maxima of x: `[B, 2H, 2W, C]` to `[B, H, W, O]`, in cells."""
    if platform == 'tpu' and min(cell) > 1:  # each place in a window is a quarter of the channels
        return _of_quarters(x, kernel, cell, to)
    return conv(max_pool(x, cell), kernel, platform, cell.halved, to)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _of_quarters(x, kernel, cell, to):
    """`conv_of_maxima` of cells whose quarters are pooled."""
    return _quarters_forward(x, kernel, cell, to)[0]


def _quarters_forward(x, kernel, cell, to):
    # Both at once, as otherwise XLA would read x again for the places.
    maxima, places = jax.lax.optimization_barrier(maxima_and_places(x, cell))
    return convolve_cells(maxima, kernel, cell.halved, to), (maxima, _receiving(places), kernel)


def _quarters_backward(cell, to, saved, dy):
    maxima, receiving, kernel = saved

    def at_places(x):
        return convolve_cells(x, kernel, cell.halved, to, addends=4)

    _, of_kernel = jax.vjp(lambda kernel: convolve_cells(maxima, kernel, cell.halved, to), kernel)
    _, of_places = jax.vjp(at_places, jnp.zeros(receiving.shape, maxima.dtype))
    (dk,), (dx,) = of_kernel(dy), of_places(dy)
    return jnp.where(receiving, dx, 0), dk


def _receiving(places):
    """Whether a quarter of the channels is that of the maximum, for each quarter.

    The places are copied to all quarters by a product with ones, which is exact.
    """
    C = places.shape[-1]
    copies = jnp.tile(jnp.eye(C, dtype=jnp.bfloat16), 4)
    quarter = (jnp.arange(4 * C) // C).astype(copies.dtype)
    receiving = jnp.dot(places.astype(copies.dtype), copies) == quarter.reshape(1, 1, 1, -1)
    # A product of its own, so that the convolution is made together with what follows it.
    return jax.lax.optimization_barrier(receiving)


_of_quarters.defvjp(_quarters_forward, _quarters_backward)


def conv_of_upsampled(
    x: jax.Array, kernel: jax.Array, platform: str, cell: Cell = PIXEL, to: Cell = PIXEL
) -> jax.Array:
    """`conv` of x upsampled by nearest neighbour: `[B, H, W, C]` to `[B, 2H, 2W, O]` in cells."""
    if platform != 'cpu':
        return convolve_cells(x, kernel, cell, to, upsampling=2)
    return _by_phases(x, kernel)


def _by_phases(x, kernel):
    """One 2x2 convolution to four times the channels, interleaved.

    A row of the result depends on two rows of x only: an even row on those above and at it, an odd
    row on those at and below it.
    """
    B, H, W, _ = x.shape
    O = kernel.shape[-1]
    phases = _conv_2x2(x, _kernel_of_phases(kernel).astype(x.dtype))
    # The odd phase of row i and the even phase of row i + 1 depend on the same two rows of x.
    phases = phases.reshape(B, H + 1, W + 1, 2, 2, O).transpose(0, 1, 3, 2, 4, 5)
    return phases.reshape(B, 2 * H + 2, 2 * W + 2, O)[:, 1:-1, 1:-1]


def _kernel_of_phases(kernel):
    """`[3, 3, C, O]` as `[2, 2, C, 4 O]`: odd rows before even rows; the same for columns."""

    def halves(k):  # along the first axis: the kernel of odd results, and that of even results
        return jnp.stack([k[0] + k[1], k[2]]), jnp.stack([k[0], k[1] + k[2]])

    phases = [
        phase.swapaxes(0, 1)
        for rows in halves(kernel)  # [2, 3, C, O]
        for phase in halves(rows.swapaxes(0, 1))  # [2, 2, C, O], columns first
    ]
    return jnp.concatenate(phases, axis=-1)


@jax.custom_vjp
def _conv_2x2(x, kernel):
    """2x2 convolution, zero padding of 1: `[B, H, W, C]` to `[B, H + 1, W + 1, O]`."""
    return convolve(x, kernel)


def _conv_2x2_forward(x, kernel):
    return _conv_2x2(x, kernel), (x, kernel)


def _conv_2x2_backward(saved, dy):
    """Gradients as matrix products, which are faster on CPU."""
    x, kernel = saved
    H, W = x.shape[1:3]
    C, O = kernel.shape[2:]
    parts = jnp.einsum('bhwo,ijco->bhwijc', dy, kernel, precision=PRECISION)
    dx = sum(parts[:, 1 - i : 1 - i + H, 1 - j : 1 - j + W, i, j] for i in (0, 1) for j in (0, 1))
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [x[:, i : i + H + 1, j : j + W + 1] for i in (0, 1) for j in (0, 1)]
    dk = sum_of_products(jnp.concatenate(windows, axis=-1), dy)
    return dx, dk.reshape(2, 2, C, O).astype(kernel.dtype)


_conv_2x2.defvjp(_conv_2x2_forward, _conv_2x2_backward)
