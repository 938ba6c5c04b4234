"""3x3 convolutions of images in cells, to images in the same or other cells.

It is a convolution of the cells: the entries of its kernel say what each pixel of the result takes
from each pixel of a cell. If the cells of the result are longer, it has strides; if they are
shorter, it is the transpose of one with strides. Upsampling makes the cells of the image twice as
long.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bodycomp_jax.models.layers.cells import PIXEL, Cell, pixels_of
from bodycomp_jax.models.layers.convolution import Sides, convolve


def convolve_cells(
    x: jax.Array, kernel: jax.Array, cell: Cell, to: Cell, upsampling: int = 1, addends: int = 1
) -> jax.Array:
    """3x3 convolution with zero padding of an image, or of the nearest-neighbour upsampled one.

    Args:
      x: cells `[B, H, W, addends * pixels * C]`; its type is that of the arithmetic and the result.
      kernel: `[3, 3, C, O]`, of any float type.
      cell, to: of x and of the result. Not along one side may `to` be longer than the cell, after
        upsampling, and shorter along the other.
      upsampling: 1, or 2 for the upsampled image.
      addends: images in cells, one after the other along the channels, whose sum is convolved.

    Returns:
      Cells `[B, H', W', pixels of to * O]`.
    """
    kernel = _kernel_of_cells(kernel, cell, to, upsampling).astype(x.dtype)
    kernel = jnp.tile(kernel, (addends, 1))
    results = (
        _cells_of_result(cell.height, to.height, upsampling),
        _cells_of_result(cell.width, to.width, upsampling),
    )
    if max(results) > 1:
        return _transposed(x, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), results)
    strides = to.height // (upsampling * cell.height), to.width // (upsampling * cell.width)
    return convolve(x, kernel, strides)


def _kernel_of_cells(kernel, cell, to, upsampling):
    """`[3, 3, C, O]` as `[k, l, pixels * C, pixels of to * O]`."""
    if cell == to == PIXEL and upsampling == 1:
        return kernel
    C, O = kernel.shape[2:]
    taps = _taps(cell, to, upsampling)[:, :, :, None, :, None]
    of_tap = kernel.transpose(2, 3, 0, 1).reshape(1, 1, 1, C, 1, O, 3, 3)
    # Not a product of matrices: for such small ones XLA finds no kernel on a GPU.
    spread = (taps * of_tap).sum((6, 7))
    return spread.reshape(*taps.shape[:2], cell.pixels * C, to.pixels * O)


@functools.cache
def _taps(cell: Cell, to: Cell, upsampling: int) -> np.ndarray:
    """1 where a tap of the 3x3 kernel, at a pixel of the result, is on a pixel of a cell.

    Returns:
      `[k, l, pixels, pixels of to, 3, 3]` float32; k and l are the place of the cell in the kernel
      of cells.
    """
    (y, x), (to_y, to_x) = pixels_of(cell), pixels_of(to)
    rows = _taps_along(cell.height, to.height, upsampling)[:, y][:, :, to_y]
    columns = _taps_along(cell.width, to.width, upsampling)[:, x][:, :, to_x]
    return np.einsum('anmd,bnme->abnmde', rows, columns)


def _taps_along(length: int, to: int, upsampling: int) -> np.ndarray:
    """The same along one axis, `[k, length, to, 3]`.

    Of several cells of the result along one of the image, each takes places of the kernel in turn.
    """
    results = _cells_of_result(length, to, upsampling)
    size = 2 + max(results, to // (upsampling * length))
    taps = np.zeros((size, length, to, 3), np.float32)
    for place in range(results * to):
        result, pixel = divmod(place, to)
        for tap in range(3):
            neighbour, source = divmod((place + tap - 1) // upsampling, length)
            taps[results * (neighbour + 1) - result, source, pixel, tap] = 1
    return taps


def _cells_of_result(length: int, to: int, upsampling: int) -> int:
    """Cells of the result along one of the image, 1 if they are longer."""
    return max(1, upsampling * length // to)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _transposed(x: jax.Array, kernel: jax.Array, strides: Sides) -> jax.Array:
    """The transpose of a convolution with strides, whose `kernel` it has, `[k, l, O, C]`."""
    B, H, W, _ = x.shape
    large = jax.ShapeDtypeStruct((B, strides[0] * H, strides[1] * W, kernel.shape[2]), x.dtype)
    (y,) = jax.linear_transpose(lambda y: convolve(y, kernel, strides), large)(x)
    return y


def _forward(x, kernel, strides):
    return _transposed(x, kernel, strides), (x, kernel)


def _backward(strides, saved, dy):
    # By the transposition of the transpose, XLA would not find the convolutions of the libraries.
    x, kernel = saved
    (dk,) = jax.linear_transpose(lambda kernel: convolve(dy, kernel, strides), kernel)(x)
    return convolve(dy, kernel, strides), dk


_transposed.defvjp(_forward, _backward)
