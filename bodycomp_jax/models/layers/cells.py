"""Images of which several neighbouring pixels are channels of one cell.

A network may read slices and write logits in cells (`UNet.shuffle`). Within, networks use them on
a TPU or GPU: a TPU stores 128 channels where there are fewer, and multiplies as many, so that an
image of 16 channels takes eight times its size. Cells of up to 4 x 4 pixels fill them. A GPU
convolves 2 x 2 pixels of 16 channels as one of 64 in a third to a half of the time, with four times
the operations. The layers of cells give the numbers of the layers of images.

The pixels of a cell are in such an order that the first quarter of the channels are those at the
upper left of each 2 x 2 pixels, which are a cell of half the side themselves; in a cell of one row,
the first half are those at the left of each two.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from bodycomp_jax.models.layers.convolution import PRECISION

Values = TypeVar('Values', jax.Array, np.ndarray)


class Cell(NamedTuple):
    """Pixels along a cell, powers of two."""

    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Number of pixels of a cell."""
        return self.height * self.width

    @property
    def halved(self) -> 'Cell':
        """After pooling."""
        return Cell(max(1, self.height // 2), max(1, self.width // 2))


PIXEL = Cell(1, 1)
SQUARE = Cell(2, 2)
CHANNELS_OF_GPU = 64  # if the upper level has fewer, a GPU convolves 2 x 2 pixels as one
LANES = 128  # channels that a TPU stores and multiplies at a time
# Cells of a TPU. In those of 2 x 4 pixels the quarters that are pooled would fill a quarter of the
# lanes; where nothing is pooled they convolve with fewer operations than 4 x 4.
POOLED = PIXEL, Cell(1, 2), SQUARE, Cell(4, 4)
UPSAMPLED = PIXEL, Cell(1, 2), SQUARE, Cell(2, 4), Cell(4, 4)


class Cells(NamedTuple):
    """The cells of each level of a U-Net."""

    down: list[Cell]  # the lowest level last
    up: list[Cell]  # the highest level last

    @property
    def of_logits(self) -> Cell:
        """The cells of the highest level on the way up, in which the logits are."""
        return (self.up or self.down)[-1]


def cells_of_levels(down: Sequence[int], up: Sequence[int], platform: str) -> Cells:
    """The cells of the levels of a network.

    Args:
      down, up: channels of each level, as of `UNet`.
      platform: 'cpu', 'gpu' or 'tpu'.
    """
    halvings = len(up)
    if platform == 'tpu':
        return Cells(
            [_filling(LANES / n, halvings - i, POOLED) for i, n in enumerate(down)],
            [_filling(LANES / n, i + 1, UPSAMPLED) for i, n in enumerate(up)],
        )
    cells = Cells([PIXEL] * (halvings + 1), [PIXEL] * halvings)
    if platform == 'gpu' and halvings and down[0] < CHANNELS_OF_GPU:
        cells.down[0] = cells.up[-1] = SQUARE
    return cells


def _filling(pixels, halvings, cells):
    """The first cell of at least so many pixels, else the largest.

    Of those by which an image divides whose sides are multiples of 2**halvings.
    """
    fitting = [cell for cell in cells if max(cell) <= 2**halvings]
    return next((cell for cell in fitting if cell.pixels >= pixels), fitting[-1])


def fold(images: Values, cell: Cell) -> Values:
    """`[B, H, W, C]` as cells, `[B, H / height, W / width, pixels * C]`."""
    B, H, W, C = images.shape
    n, m = _halvings(cell)
    split = images.reshape(B, H // cell.height, *[2] * n, W // cell.width, *[2] * m, C)
    bits = [{'rows': 1 + n, 'columns': 2 + n + m}[along] - k for along, k in _bits(cell)]
    cells = split.transpose(0, 1, 2 + n, *bits, 3 + n + m)
    return cells.reshape(*cells.shape[:3], cell.pixels * C)


def unfold(cells: jax.Array, cell: Cell, platform: str) -> jax.Array:
    """`[B, H, W, pixels * C]` float32 as an image, `[B, height * H, width * W, C]`.

    A TPU moves numbers slowly: there the columns of the pixels are interleaved by a product with
    ones and zeros.
    """
    if cell == PIXEL:
        return cells
    B, H, W, channels = cells.shape
    (h, w), C = cell, channels // cell.pixels
    split = cells.reshape(B, H, W, *[2] * len(_bits(cell)), C)
    rows, columns = (_axes(cell, along) for along in ('rows', 'columns'))
    if platform != 'tpu':
        return split.transpose(0, 1, *rows, 2, *columns, -1).reshape(B, h * H, w * W, C)
    split = split.transpose(0, 1, *rows, -1, *columns, 2).reshape(B, H, h, C, w * W)
    rows_of_image = jnp.einsum('bhicj,xj->bhicx', split, _columns(W, w), precision=PRECISION)
    return rows_of_image.swapaxes(3, 4).reshape(B, h * H, w * W, C)


def fold_labels(labels: jax.Array, cell: Cell, platform: str) -> jax.Array:
    """`fold` of labels `[B, H, W, C]` in 0..255, on a TPU by a product as in `unfold`."""
    if platform != 'tpu' or cell == PIXEL:
        return fold(labels, cell)
    B, H, W, C = labels.shape
    w = cell.width
    ones = _columns(W // w, w).astype(jnp.bfloat16)  # exact, as are the labels
    apart = jnp.einsum('bhxc,xj->bhcj', labels.astype(ones.dtype), ones).astype(labels.dtype)
    columns = apart.reshape(B, H, C, w, W // w).transpose(0, 1, 4, 3, 2)
    return fold(columns.reshape(B, H, W, C), cell)


def diagonal_kernel(kernel: jax.Array, cell: Cell) -> jax.Array:
    """The kernel `[1, 1, C, O]` of a pixel as that of each pixel of a cell."""
    return jnp.kron(jnp.eye(cell.pixels, dtype=kernel.dtype), kernel)


def pixels_of(cell: Cell) -> np.ndarray:
    """Row and column of each pixel of a cell, `[2, pixels]`."""
    return fold(np.indices(cell)[..., None], cell).reshape(2, -1)


def _halvings(cell: Cell) -> tuple[int, int]:
    n, m = (length.bit_length() - 1 for length in cell)
    return n, m


def _bits(cell: Cell) -> list[tuple[str, int]]:
    """What the number of a pixel in its cell is made of: bits of its row and column."""
    n, m = _halvings(cell)
    pairs = [(axis, k) for k in range(max(n, m)) for axis in ('rows', 'columns')]
    return [(axis, k) for axis, k in pairs if k < {'rows': n, 'columns': m}[axis]]


def _axes(cell: Cell, along: str) -> list[int]:
    """Of `[B, H, W, 2, ..., 2, C]` those of the row or column of a pixel, the highest bit first."""
    return [3 + i for i, (of, _) in reversed([*enumerate(_bits(cell))]) if of == along]


def _columns(W: int, width: int) -> np.ndarray:
    """Ones and zeros `[width * W, width * W]`, for W cells in a row.

    1 where column x of an image, the row, is pixel j of cell k, the column j * W + k.
    """
    ones = np.eye(width * W, dtype=np.float32).reshape(-1, W, width)
    return ones.swapaxes(1, 2).reshape(width * W, -1)
