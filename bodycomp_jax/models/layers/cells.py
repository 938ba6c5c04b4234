"""Images of which r x r pixels are channels of one cell.

A network may read slices and write logits in cells (`UNet.shuffle`). Within, networks use them on
a TPU or GPU: a TPU stores 128 channels where there are fewer, and multiplies as many, so that an
image of 16 channels takes eight times its size. Cells of 2 x 2 or 4 x 4 pixels fill them. A GPU
convolves 2 x 2 pixels of 16 channels as one of 64 in a third to a half of the time, with four times
the operations. The layers of cells give the numbers of the layers of images.

The pixels of a cell are in such an order that the first quarter of the channels are those at the
upper left of each 2 x 2 pixels, which are a cell of half the side themselves.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bodycomp_jax.models.layers.convolution import PRECISION

CHANNELS = {'cpu': 1, 'gpu': 64, 'tpu': 128}  # that a cell fills: a TPU stores as many at a time
LARGEST = {'cpu': 1, 'gpu': 2, 'tpu': 4}  # pixels along a cell


def cell_side(channels: int, halvings: int, platform: str) -> int:
    """The least r at which a cell of an image of so many channels fills those of a platform.

    Not more than a network whose images are halved so many times can take.
    """
    r = 1
    while r < min(LARGEST[platform], 2**halvings) and r * r * channels < CHANNELS[platform]:
        r *= 2
    return r


def fold(images: jax.Array, r: int) -> jax.Array:
    """`[B, H, W, C]` as cells, `[B, H / r, W / r, r * r * C]`."""
    if r == 1:
        return images
    B, H, W, C = images.shape
    n = _halvings(r)
    split = images.reshape(B, H // r, *[2] * n, W // r, *[2] * n, C)
    rows, columns = range(1 + n, 1, -1), range(2 + 2 * n, 2 + n, -1)
    places = [axis for place in zip(rows, columns, strict=True) for axis in place]
    split = split.transpose(0, 1, 2 + n, *places, 3 + 2 * n)
    return split.reshape(B, H // r, W // r, r * r * C)


def unfold(cells: jax.Array, r: int, platform: str) -> jax.Array:
    """`[B, H, W, r * r * C]` as an image, `[B, r * H, r * W, C]`, float32.

    A TPU moves numbers slowly: there the columns of the pixels are interleaved by a product with
    ones and zeros.
    """
    if r == 1:
        return cells
    B, H, W, channels = cells.shape
    n, C = _halvings(r), channels // (r * r)
    split = cells.reshape(B, H, W, *[2] * (2 * n), C)
    rows, columns = range(1 + 2 * n, 2, -2), range(2 + 2 * n, 3, -2)
    if platform != 'tpu':
        return split.transpose(0, 1, *rows, 2, *columns, 3 + 2 * n).reshape(B, r * H, r * W, C)
    split = split.transpose(0, 1, *rows, 3 + 2 * n, *columns, 2).reshape(B, H, r, C, r, W)
    interleaved = np.eye(r * W, dtype=np.float32).reshape(W, r, r * W)
    rows_of_image = jnp.einsum('bhicjw,wjx->bhicx', split, interleaved, precision=PRECISION)
    return rows_of_image.swapaxes(3, 4).reshape(B, r * H, r * W, C)


def kernel_between(kernel: jax.Array, r: int, r_out: int) -> jax.Array:
    """The kernel `[3, 3, C, O]` of an image as that of its cells, `[3, 3, r * r * C, R * R * O]`.

    Args:
      kernel: of the image.
      r: pixels along a cell of the input.
      r_out: R, those of the output; if it is 2 r, the input is upsampled by nearest neighbour.
    """
    if r_out == 1:
        return kernel
    C, O = kernel.shape[2:]
    taps = _taps(r, r_out)[:, :, :, None, :, None]  # [3, 3, r * r, 1, R * R, 1, 3, 3]
    of_tap = kernel.transpose(2, 3, 0, 1).reshape(1, 1, 1, C, 1, O, 3, 3)
    # Not a product of matrices: for such small ones XLA finds no kernel on a GPU.
    spread = (taps * of_tap).sum((6, 7))
    return spread.reshape(3, 3, r * r * C, r_out * r_out * O)


def diagonal_kernel(kernel: jax.Array, r: int) -> jax.Array:
    """The kernel `[1, 1, C, O]` of a pixel as that of each pixel of a cell."""
    return jnp.kron(jnp.eye(r * r, dtype=kernel.dtype), kernel)


def _halvings(r: int) -> int:
    return r.bit_length() - 1


@functools.cache
def _taps(r: int, r_out: int) -> np.ndarray:
    """Whether an input pixel in a cell is under a tap of a kernel at an output pixel.

    Returns:
      `[3, 3, r * r, R * R, 3, 3]` of the neighbouring cell, the pixels in both, and the tap.
    """
    along = np.zeros((3, r, r_out, 3), np.float32)
    for pixel in range(r_out):
        for tap in range(3):
            cell, source = divmod((pixel + tap - 1) * r // r_out, r)
            along[cell + 1, source, pixel, tap] = 1
    pixels_in, pixels_out = _pixels(r), _pixels(r_out)
    rows, columns = (along[:, pixels_in[i]][:, :, pixels_out[i]] for i in (0, 1))
    return np.einsum('anmd,bnme->abnmde', rows, columns)


def _pixels(r: int) -> np.ndarray:
    """Row and column of each pixel of a cell, `[2, r * r]`."""
    if r == 1:
        return np.zeros((2, 1), int)
    places = np.array([(i, j) for i in (0, 1) for j in (0, 1)]).T
    return (places[:, :, None] + 2 * _pixels(r // 2)[:, None]).reshape(2, -1)
