"""3x3 convolution from many channels to few, with a fast gradient of the kernel on CPU."""

import jax
import jax.numpy as jnp

from bodycomp_jax.models.layers.convolution import (
    convolve,
    convolve_with_gradient,
    sum_of_products,
)


def narrow_conv(x: jax.Array, kernel: jax.Array, platform: str) -> jax.Array:
    """3x3 convolution with stride 1 and SAME padding.

    On CPU the gradient of the kernel is one product of x with nine shifts of the result's gradient,
    which has the fewer channels; XLA computes it as a convolution whose window is the whole image.
    From 48 to 12 channels at 63 x 63, 16 images on a core of an EPYC: 16 instead of 22 ms.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[3, 3, C, O]`, of the same type.
      platform: 'cpu', 'gpu' or 'tpu', for whose speed it is written; the result is the same.
    """
    if platform == 'cpu':
        return convolve_with_gradient(_kernel_gradient, x, kernel)
    return convolve(x, kernel)


def _kernel_gradient(x, dy):
    H, W, C = x.shape[1:]
    shifts = jnp.pad(dy, ((0, 0), (1, 1), (1, 1), (0, 0)))
    # Two concatenations of three: XLA joins nine at once slowly.
    shifts = jnp.concatenate([shifts[:, :, 2 - j : 2 - j + W] for j in range(3)], axis=-1)
    shifts = jnp.concatenate([shifts[:, 2 - i : 2 - i + H] for i in range(3)], axis=-1)
    return sum_of_products(x, shifts).reshape(C, 3, 3, -1).transpose(1, 2, 0, 3)
