"""The slice-selection network: a DenseNet that tells offsets (after Huang et al. 2017)."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from bodycomp_jax.models.layers.convolution import PRECISION, pointwise
from bodycomp_jax.models.layers.norm import batch_norm
from bodycomp_jax.models.layers.pooling import overlapping_max_pool

BOTTLENECK = 4  # channels between a layer's convolutions, in growth rates


class DenseNet(nn.Module):
    """A logit for each level.

    Unlike the DenseNet of the paper, a block returns what its layers added, without its input,
    although a transition reckons the channels that it keeps from both; convolutions have biases.

    Attributes:
      num_levels: outputs.
      layers: of each block.
      blocks: of layers, with a transition between any two.
      initial_filters: channels before the first block.
      growth: channels that a layer adds.
      compression: share of a block's channels, input included, that a transition keeps.
      activation: elementwise function in the transitions, the last block and the end; the earlier
        blocks always have ReLU.
      norm: whether there are batch norms.
      initializer: of kernels and biases of the convolutions.
      dtype: precision of the arithmetic; parameters and statistics are float32.
      axis_name: the mapped axis over which batch statistics are taken in training, if any.
    """

    num_levels: int = 1
    layers: int = 12
    blocks: int = 4
    initial_filters: int = 16
    growth: int = 12
    compression: float = 0.5
    activation: Callable = nn.relu
    norm: bool = True
    initializer: Callable = nn.initializers.glorot_uniform()
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, *, train=False):
        """Args:
          images: `[B, H, W, 1]` grey values in 0..255.
          train: normalise by the statistics of this batch and update the running ones.

        Returns:
          `[B, num_levels]` float32 logits, offset / threshold.
        """
        x = images.astype(self.dtype)
        x = self._conv(self.initial_filters, 7, 'initial_conv', stride=2)(x)
        x = overlapping_max_pool(x)
        for i in range(self.blocks):
            last = i == self.blocks - 1
            counted = x.shape[-1] + self.layers * self.growth
            x = self._block(x, f'block_{i}', self.activation if last else nn.relu, train)
            if not last:
                x = self._normed(x, f'transition_{i}_norm', self.activation, train)
                x = self._conv(int(counted * self.compression), 1, f'transition_{i}_conv')(x)
                x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        x = self._normed(x, 'final_norm', self.activation, train)
        x = x.astype(jnp.float32).mean((1, 2))
        return nn.Dense(
            self.num_levels,
            kernel_init=nn.initializers.glorot_uniform(),
            precision=PRECISION,
            name='dense',
        )(x)

    def _block(self, x, name, activation, train):
        """What the layers of a dense block add: `[B, H, W, layers * growth]`."""
        added = []
        for i in range(self.layers):
            y = jnp.concatenate([x, *added], axis=-1)
            y = self._normed(y, f'{name}_layer_{i}_norm_0', activation, train)
            y = self._conv(BOTTLENECK * self.growth, 1, f'{name}_layer_{i}_conv_0')(y)
            y = self._normed(y, f'{name}_layer_{i}_norm_1', activation, train)
            added.append(self._conv(self.growth, 3, f'{name}_layer_{i}_conv_1')(y))
        return jnp.concatenate(added, axis=-1)

    def _normed(self, x, name, activation, train):
        if self.norm:
            norm = batch_norm(name, train=train, dtype=self.dtype, axis_name=self.axis_name)
            x = norm(x)
        return activation(x)

    def _conv(self, channels, size, name, stride=1):
        return nn.Conv(
            channels,
            (size, size),
            strides=stride,
            kernel_init=self.initializer,
            bias_init=self._initial_bias,
            dtype=self.dtype,
            precision=PRECISION,
            conv_general_dilated=pointwise if size == 1 else None,
            name=name,
        )

    def _initial_bias(self, key, shape, dtype):
        """As Keras draws a bias: a vector of n has n inputs and n outputs."""
        return self.initializer(key, (*shape, *shape), dtype)[0]
