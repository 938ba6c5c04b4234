"""The segmentation network: a 2D U-Net with batch norm (Ronneberger et al. 2015)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from bodycomp_jax import ct
from bodycomp_jax.models.layers import cells
from bodycomp_jax.models.layers.convolution import conv, pointwise
from bodycomp_jax.models.layers.norm import BatchNorm
from bodycomp_jax.models.layers.pooling import max_pool
from bodycomp_jax.models.layers.resize import from_square, to_square
from bodycomp_jax.models.layers.upsampling import conv_of_upsampled


class Conv(nn.Module):
    """A 3x3 convolution without bias, which the following batch norm would cancel.

    Attributes:
      channels: of the result.
      platform: for whose speed it is written.
      cell: pixels along a cell of the result; of x, too, or with a skip half as many.
    """

    channels: int
    platform: str
    cell: int

    @nn.compact
    def __call__(self, x: jax.Array, skip: jax.Array | None = None) -> jax.Array:
        """Convolves x `[B, H, W, C]`, or with a skip `[B, 2H, 2W, S]` the channels of x upsampled
        followed by those of the skip; with cells, see `cells`.
        """
        r = self.cell
        below = r if skip is None else max(1, r // 2)
        C = x.shape[-1] // below**2
        S = 0 if skip is None else skip.shape[-1] // r**2
        shape = (3, 3, C + S, self.channels)
        kernel = self.param('kernel', nn.initializers.glorot_uniform(), shape, jnp.float32)
        if skip is None:
            return conv(x, cells.kernel_between(kernel, r, r), self.platform)
        of_x, of_skip = kernel[:, :, :C], cells.kernel_between(kernel[:, :, C:], r, r)
        if r == 1:
            upsampled = conv_of_upsampled(x, of_x, self.platform)
        else:
            upsampled = conv(x, cells.kernel_between(of_x, below, r), self.platform)
        return upsampled + conv(skip, of_skip, self.platform)


class ConvBlock(nn.Module):
    """`num_convs` x [3x3 convolution, batch norm, activation]; `[B, H, W, C]` in and out.

    The first convolution takes the skip, if any, as `Conv` does.
    """

    channels: int
    num_convs: int
    activation: Callable
    axis_name: str | None
    platform: str
    cell: int

    @nn.compact
    def __call__(self, x: jax.Array, skip: jax.Array | None = None, *, train: bool) -> jax.Array:
        for i in range(self.num_convs):
            convolution = Conv(self.channels, self.platform, self.cell, name=f'conv_{i}')
            norm = BatchNorm(train, self.activation, self.axis_name, self.cell**2, name=f'norm_{i}')
            x = norm(convolution(x, skip if i == 0 else None))
        return x


class FinalConv(nn.Module):
    """A 1x1 convolution of every pixel of a cell, in float32: `[B, H, W, C]` to images.

    With bfloat16 logits tie, and a tie is labelled background.
    """

    channels: int
    platform: str
    cell: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        r = self.cell
        shape = (1, 1, x.shape[-1] // r**2, self.channels)
        kernel = self.param('kernel', nn.initializers.glorot_uniform(), shape, jnp.float32)
        bias = self.param('bias', nn.initializers.zeros, (self.channels,), jnp.float32)
        logits = pointwise(x.astype(jnp.float32), cells.diagonal_kernel(kernel, r), self.platform)
        return cells.unfold(logits, r, self.platform) + bias.reshape(1, 1, 1, -1)


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
        same.
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
          `[B, H, W, num_classes]` float32 logits.
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

        _, H, W, _ = images.shape
        x = cells.fold(self._grey(images), self.shuffle)
        down, up = self.compression_channels, self.decompression_channels
        r = cells.cell_side(down[0], len(up), self.platform)
        x, skips = cells.fold(x.astype(self.dtype), r), []
        for i, channels in enumerate(down[:-1]):
            x = block(channels, r, f'compression_{i}')(x, train=train)
            skips.append((x, r))
            x, r = max_pool(x, r), max(1, r // 2)
        x = block(down[-1], r, 'compression_center')(x, train=train)
        for i, channels in enumerate(up):
            skip, r = skips.pop()
            x = block(channels, r, f'decompression_{i}')(x, skip, train=train)
        channels = self.shuffle**2 * self.num_classes
        logits = FinalConv(channels, self.platform, r, name='final_conv')(x)
        logits = cells.unfold(logits, self.shuffle, self.platform)
        return from_square(logits, (H, W)) if self.side else logits

    def _grey(self, images: jax.Array) -> jax.Array:
        """Slices at the size of the network, in grey values."""
        x = images.clip(ct.AIR) if self.window else images
        if self.side:
            x = to_square(x, self.side, outside=ct.AIR if self.window else 0)
        return ct.window(x) if self.window else x
