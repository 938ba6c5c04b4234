"""The batch norm of both networks (Ioffe and Szegedy 2015), with the activation that follows it."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

EPSILON = 1e-3  # as in the reference
MOMENTUM = 0.9  # with 0.99 the running statistics lag far behind on small sets


class BatchNorm(nn.Module):
    """Normalises each channel; parameters and statistics are float32.

    Attributes:
      train: normalise with the statistics of the batch and update the running statistics.
      activation: elementwise function of what is normalised.
      axis_name: the mapped axis over which batch statistics are computed in training, if any.
      pixels: of each cell, whose channels follow each other; 1 for an image. See `cells`.
      platform: 'cpu', 'gpu' or 'tpu', for whose speed it is written; results are equal up to
        rounding.
    """

    train: bool
    activation: Callable[[jax.Array], jax.Array]
    axis_name: str | None
    pixels: int = 1
    platform: str = 'cpu'

    @nn.compact
    def __call__(self, x: jax.Array, before: jax.Array | float = 0.0) -> jax.Array:
        """Normalises `[B, H, W, pixels * C]`; the result has the type of x.

        `before`, `[C]`, is what the convolution would have added to each channel of x. The norm
        cancels it: only the running mean changes.
        """
        shape = (x.shape[-1] // self.pixels,)
        scale = self.param('scale', nn.initializers.ones, shape, jnp.float32)
        bias = self.param('bias', nn.initializers.zeros, shape, jnp.float32)
        mean = self.variable('batch_stats', 'mean', jnp.zeros, shape, jnp.float32)
        var = self.variable('batch_stats', 'var', jnp.ones, shape, jnp.float32)
        if not self.train or self.is_initializing():
            return _normalised(self.activation, x, mean.value - before, var.value, scale, bias)
        y, of_batch, var_of_batch = _normalised_by_batch(
            self.activation, self.axis_name, self.platform, x, scale, bias
        )
        for running, new in ((mean, of_batch + before), (var, var_of_batch)):
            running.value = MOMENTUM * running.value + (1 - MOMENTUM) * new
        return y


def _normalised(activation, x, mean, var, scale, bias):
    return activation(_argument(x, mean, var, scale, bias)).astype(x.dtype)


def _argument(x, mean, var, scale, bias):
    """Of the activation, float32."""
    factor = scale * jax.lax.rsqrt(var + EPSILON)
    return x.astype(jnp.float32) * _along(x, factor) + _along(x, bias - mean * factor)


def _along(x, values):
    """Values of each channel, for each channel of each pixel of the cells of x."""
    return jnp.tile(values, x.shape[-1] // len(values)).reshape(1, 1, 1, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _normalised_by_batch(activation, axis_name, platform, x, scale, bias):
    """(what is normalised, mean, variance); the statistics have no gradient.

    The backward pass reads x and the gradient twice, and computes what is between them again: to
    store it costs more memory traffic.
    """
    x32 = x.astype(jnp.float32)
    mean, of_squares = _over_devices(_means(platform, len(scale), x32, jnp.square(x32)), axis_name)
    var = jnp.maximum(0, of_squares - jnp.square(mean))
    return _normalised(activation, x, mean, var, scale, bias), mean, var


def _forward(activation, axis_name, platform, x, scale, bias):
    results = _normalised_by_batch(activation, axis_name, platform, x, scale, bias)
    return results, (x, scale, bias, *results[1:])


def _backward(activation, axis_name, platform, saved, gradients):
    x, scale, bias, mean, var = saved
    dy = gradients[0].astype(jnp.float32)
    per_deviation = jax.lax.rsqrt(var + EPSILON)

    def of_argument(x):
        """(x, the gradient of the argument of the activation), float32."""
        _, pull_back = jax.vjp(activation, _argument(x, mean, var, scale, bias))
        return x.astype(jnp.float32), *pull_back(dy)

    def of_mean_and_deviations(means):
        """Means of the gradient, and of it times the deviations from the mean."""
        of_gradient, of_products = means
        return of_gradient, per_deviation * (of_products - mean * of_gradient)

    x32, gradient = of_argument(x)
    own = _means(platform, len(scale), gradient, gradient * x32)
    of_mean, of_deviations = of_mean_and_deviations(_over_devices(own, axis_name))
    x32, gradient = of_argument(jax.lax.optimization_barrier(x))
    factor = scale * per_deviation
    slope = factor * per_deviation * of_deviations
    dx = _along(x, factor) * gradient - _along(x, slope) * x32
    dx += _along(x, slope * mean - factor * of_mean)
    of_bias, of_scale = of_mean_and_deviations(own * (x.size / len(scale)))
    return dx.astype(x.dtype), of_scale, of_bias


_normalised_by_batch.defvjp(_forward, _backward)


def _means(platform, channels, *arrays):
    """`[len(arrays), channels]`: the mean of each channel of each array."""
    sums = _sums_at_once(arrays) if platform == 'gpu' else [a.sum((0, 1, 2)) for a in arrays]
    means = jnp.stack(sums) / (arrays[0].size // arrays[0].shape[-1])
    return means.reshape(len(arrays), -1, channels).mean(1)


def _sums_at_once(arrays):
    """The sums of each channel of each array, by one reduction and so by fewer kernels."""
    zeros = [np.zeros((), array.dtype) for array in arrays]
    return jax.lax.reduce(list(arrays), zeros, lambda a, b: list(map(jnp.add, a, b)), (0, 1, 2))


def _over_devices(means, axis_name):
    return means if axis_name is None else jax.lax.pmean(means, axis_name)
