"""The slice-selection network: a DenseNet that predicts offsets (after Huang et al. 2017)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from bodycomp_jax.models.layers.convolution import PRECISION, pointwise
from bodycomp_jax.models.layers.narrow import narrow_conv
from bodycomp_jax.models.layers.norm import BatchNorm
from bodycomp_jax.models.layers.one_channel import strided_7x7
from bodycomp_jax.models.layers.pooling import mean_pool, overlapping_max_pool

BOTTLENECK = 4  # channels between the two convolutions of a layer, as a multiple of the growth


class Features(NamedTuple):
    """An image and what is still to be added to each of its channels.

    A batch norm cancels the bias of the convolution before it; adding it would only be a pass over
    the memory.
    """

    image: jax.Array  # [B, H, W, C]
    bias: jax.Array  # [C]


class Conv(nn.Module):
    """A convolution with SAME padding.

    Attributes:
      channels: of the result.
      size: of the kernel: 1, 3, or 7 with stride 2.
      initializer: of kernel and bias.
      dtype: precision of the arithmetic.
      platform: as in `DenseNet`.
    """

    channels: int
    size: int
    initializer: Callable
    dtype: DTypeLike
    platform: str

    @nn.compact
    def __call__(self, x: jax.Array) -> Features:
        shape = (self.size, self.size, x.shape[-1], self.channels)
        kernel = self.param('kernel', self.initializer, shape, jnp.float32)
        bias = self.param('bias', self._initial_bias, (self.channels,), jnp.float32)
        return Features(self._convolved(x, kernel.astype(self.dtype)), bias)

    def _convolved(self, x, kernel):
        match self.size:
            case 1:
                return pointwise(x, kernel, self.platform)
            case 3:
                return narrow_conv(x, kernel, self.platform)
            case 7:
                return strided_7x7(x, kernel, self.platform)

    def _initial_bias(self, key, shape, dtype):
        """As in Keras, where a bias of n values has a fan-in and a fan-out of n."""
        return self.initializer(key, (*shape, *shape), dtype)[0]


class DenseNet(nn.Module):
    """One logit for each vertebral level.

    Differences from the paper: a block returns the output of its layers without its input, although
    the number of channels after a transition is a fraction of both; convolutions have biases.

    Attributes:
      num_levels: number of outputs.
      layers: layers per dense block.
      blocks: dense blocks, with a transition between consecutive blocks.
      initial_filters: channels before the first block.
      growth: channels that each layer adds.
      compression: channels after a transition, as a fraction of the block's input and output.
      activation: elementwise function in the transitions, the last block and before the global
        mean; the earlier blocks always use ReLU.
      norm: whether the network has batch norms.
      initializer: of kernels and biases of the convolutions.
      dtype: precision of the arithmetic except that of the logits; parameters, batch statistics,
        the global mean and the dense layer are float32.
      axis_name: the mapped axis over which batch statistics are computed in training, if any.
      platform: 'cpu', 'gpu' or 'tpu', for which the formulation is chosen; results are equal.
    """

    num_levels: int
    layers: int
    blocks: int
    initial_filters: int
    growth: int
    compression: float
    activation: Callable
    norm: bool
    initializer: Callable = nn.initializers.glorot_uniform()
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    platform: str = 'cpu'

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Args:
          images: `[B, H, W, 1]` grey values in 0..255.
          train: normalise with the statistics of this batch and update the running statistics.

        Returns:
          `[B, num_levels]` float32 logits: offset / threshold.
        """
        x = self._conv(self.initial_filters, 7, 'initial_conv')(images.astype(self.dtype))
        x = x._replace(image=overlapping_max_pool(x.image, self.platform))
        for i in range(self.blocks):
            last = i == self.blocks - 1
            channels = len(x.bias) + self.layers * self.growth
            x = self._block(x, f'block_{i}', self.activation if last else nn.relu, train)
            if not last:
                y = self._normed(x, f'transition_{i}_norm', self.activation, train)
                # In the paper after the convolution: the same with four times the operations.
                y = mean_pool(y)
                x = self._conv(int(channels * self.compression), 1, f'transition_{i}_conv')(y)
        y = self._normed(x, 'final_norm', self.activation, train)
        y = y.astype(jnp.float32).mean((1, 2))
        return nn.Dense(
            self.num_levels,
            kernel_init=nn.initializers.glorot_uniform(),
            precision=PRECISION,
            name='dense',
        )(y)

    def _block(self, x, name, activation, train):
        """The output of the layers of a dense block, layers * growth channels."""
        added: list[Features] = []
        for i in range(self.layers):
            y = self._normed(_joined([x, *added]), f'{name}_layer_{i}_norm_0', activation, train)
            wide = self._conv(BOTTLENECK * self.growth, 1, f'{name}_layer_{i}_conv_0')(y)
            y = self._normed(wide, f'{name}_layer_{i}_norm_1', activation, train)
            added.append(self._conv(self.growth, 3, f'{name}_layer_{i}_conv_1')(y))
        return _joined(added)

    def _normed(self, x, name, activation, train):
        if not self.norm:
            return activation(x.image + x.bias.astype(self.dtype).reshape(1, 1, 1, -1))
        norm = BatchNorm(train, activation, self.axis_name, platform=self.platform, name=name)
        return norm(*x)

    def _conv(self, channels, size, name):
        return Conv(channels, size, self.initializer, self.dtype, self.platform, name=name)


def _joined(features: list[Features]) -> Features:
    """One after the other along the channels."""
    images, biases = zip(*features, strict=True)
    return Features(jnp.concatenate(images, axis=-1), jnp.concatenate(biases))
