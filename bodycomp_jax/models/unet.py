"""The segmentation network: a 2D U-Net with batch norm (Ronneberger et al. 2015)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from bodycomp_jax import ct
from bodycomp_jax.models.layers.cells import (
    Cell,
    Cells,
    cells_of_levels,
    diagonal_kernel,
    fold,
    unfold,
)
from bodycomp_jax.models.layers.convolution import pointwise
from bodycomp_jax.models.layers.logits import labels_of_cells, logits_of_cells
from bodycomp_jax.models.layers.norm import BatchNorm
from bodycomp_jax.models.layers.resize import from_square, to_square
from bodycomp_jax.models.layers.unet_convolution import conv, conv_of_maxima, conv_of_upsampled


class Image(NamedTuple):
    """`[B, H, W, pixels * C]`, in cells."""

    values: jax.Array
    cell: Cell

    @property
    def channels(self) -> int:
        """Number of channels of a pixel."""
        return self.values.shape[-1] // self.cell.pixels


class Conv(nn.Module):
    """A 3x3 convolution without bias, which the following batch norm would cancel.

    Attributes:
      channels: of the result.
      platform: for whose speed it is written.
      cell: of the result.
    """

    channels: int
    platform: str
    cell: Cell

    @nn.compact
    def __call__(self, x: Image, skip: Image | None = None, *, pooled: bool = False) -> Image:
        """Convolves x `[B, H, W, C]` or its 2x2 maxima; with a skip `[B, 2H, 2W, S]` the channels
        of x upsampled followed by those of the skip.
        """
        C, S = x.channels, 0 if skip is None else skip.channels
        shape = (3, 3, C + S, self.channels)
        kernel = self.param('kernel', nn.initializers.glorot_uniform(), shape, jnp.float32)
        if skip is None:
            convolved = conv_of_maxima if pooled else conv
            return Image(convolved(x.values, kernel, self.platform, x.cell, self.cell), self.cell)
        upsampled = conv_of_upsampled(x.values, kernel[:, :, :C], self.platform, x.cell, self.cell)
        skipped = conv(skip.values, kernel[:, :, C:], self.platform, skip.cell, self.cell)
        return Image(upsampled + skipped, self.cell)


class ConvBlock(nn.Module):
    """`num_convs` x [3x3 convolution, batch norm, activation].

    The first convolution takes the skip, if any, or the maxima of x, as `Conv` does.
    """

    channels: int
    num_convs: int
    activation: Callable
    axis_name: str | None
    platform: str
    cell: Cell

    @nn.compact
    def __call__(
        self, x: Image, skip: Image | None = None, *, pooled: bool = False, train: bool
    ) -> Image:
        for i in range(self.num_convs):
            convolution = Conv(self.channels, self.platform, self.cell, name=f'conv_{i}')
            norm = BatchNorm(
                train,
                self.activation,
                self.axis_name,
                self.cell.pixels,
                self.platform,
                name=f'norm_{i}',
            )
            x = convolution(x, skip if i == 0 else None, pooled=pooled and i == 0)
            x = x._replace(values=norm(x.values))
        return x


class FinalConv(nn.Module):
    """A 1x1 convolution in float32: with bfloat16 logits tie, and a tie is labelled background.

    Attributes:
      classes: of a pixel.
      shuffled: pixels that are channels of one pixel of x.
      platform: for whose speed it is written.
      in_cells: whether the logits are those of `logits_of_cells`, or an image.
    """

    classes: int
    shuffled: int
    platform: str
    in_cells: bool

    @nn.compact
    def __call__(self, x: Image) -> jax.Array:
        shape = (1, 1, x.channels, self.shuffled * self.classes)
        kernel = self.param('kernel', nn.initializers.glorot_uniform(), shape, jnp.float32)
        bias = self.param('bias', nn.initializers.zeros, shape[-1:], jnp.float32)
        kernel, bias = diagonal_kernel(kernel, x.cell), jnp.tile(bias, x.cell.pixels)
        if self.in_cells:
            return logits_of_cells(x.values, kernel, bias, self.classes, self.platform)
        logits = pointwise(x.values.astype(jnp.float32), kernel, self.platform)
        return unfold(logits + bias.reshape(1, 1, 1, -1), x.cell, self.platform)


class UNet(nn.Module):
    """Class logits for every pixel.

    Each level is a `ConvBlock`, with 2x2 max pooling between levels on the way down. On the way
    up, each level takes the nearest-neighbour upsampling of the level below and the output of its
    counterpart on the way down. A 1x1 convolution computes the logits.

    Attributes:
      num_classes: tissues and background.
      compression_channels: channels of each level on the way down, the lowest level last.
      decompression_channels: channels of each level on the way up, one level fewer.
      num_convs: convolutions per level.
      side: to which the slices are resized, and from which the logits are resized back; 0 leaves
        them as they are.
      shuffle: pixels along a pixel of the network, of which they are the channels (Shi et al. 2016,
        arXiv:1609.05158); the logits are of each of these pixels.
      window: whether the slices are HU, to which the window is applied after they are resized:
        where skin meets air, the mean of two pixels cut to the window looks like fat.
      activation: elementwise function after each batch norm.
      dtype: precision of the arithmetic except that of the logits; parameters, batch statistics
        and the final 1x1 convolution are float32.
      axis_name: the mapped axis over which batch statistics are computed in training, if any.
      platform: 'cpu', 'gpu' or 'tpu', for whose speed it is written; parameters and results are the
        same, but for the order of the logits of training.
    """

    num_classes: int
    compression_channels: tuple[int, ...]
    decompression_channels: tuple[int, ...]
    num_convs: int
    side: int
    shuffle: int
    window: bool
    activation: Callable
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    platform: str = 'cpu'

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Args:
          images: `[B, H, W, 1]` HU, or without the window grey values in 0..255; H and W, or
            the side, divisible by shuffle * 2**(levels on the way up).
          train: normalise with the statistics of this batch and update the running statistics.

        Returns:
          `[B, H, W, num_classes]` float32 logits; in training, unless there is a side, with five
          axes: those of the same pixels in the order into which `labels_of` brings the labels.
        """

        def block(channels, cell, name):
            return ConvBlock(
                channels,
                self.num_convs,
                self.activation,
                self.axis_name,
                self.platform,
                cell,
                name=name,
            )

        down, up = self.compression_channels, self.decompression_channels
        cells, skips = self._cells, []
        grey = fold(self._grey(images), self._shuffled).astype(self.dtype)
        x = Image(fold(grey, cells.down[0]), cells.down[0])
        for i, channels in enumerate(down):
            name = f'compression_{i}' if i < len(up) else 'compression_center'
            x = block(channels, cells.down[i], name)(x, pooled=i > 0, train=train)
            skips.append(x)
        x = skips.pop()
        for i, channels in enumerate(up):
            x = block(channels, cells.up[i], f'decompression_{i}')(x, skips.pop(), train=train)
        in_cells = train and not self.side
        logits = FinalConv(
            self.num_classes, self._shuffled.pixels, self.platform, in_cells, name='final_conv'
        )(x)
        if in_cells:
            return logits
        logits = unfold(logits, self._shuffled, self.platform)
        _, H, W, _ = images.shape
        return from_square(logits, (H, W)) if self.side else logits

    def labels_of(self, logits: jax.Array, masks: jax.Array) -> jax.Array:
        """Labels `[B, H, W]` in the order of the logits of the same pixels."""
        if logits.ndim == masks.ndim + 1:  # of images
            return masks
        cells = self._shuffled, self._cells.of_logits
        return labels_of_cells(masks, cells, self.platform)

    @property
    def _shuffled(self) -> Cell:
        return Cell(self.shuffle, self.shuffle)

    @property
    def _cells(self) -> Cells:
        return cells_of_levels(
            self.compression_channels, self.decompression_channels, self.platform
        )

    def _grey(self, images: jax.Array) -> jax.Array:
        """Slices at the size of the network, in grey values."""
        x = images.clip(ct.AIR) if self.window else images
        if self.side:
            x = to_square(x, self.side, outside=ct.AIR if self.window else 0)
        return ct.window(x) if self.window else x
