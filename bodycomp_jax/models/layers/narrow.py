"""3x3 convolution from many channels to few, with fast gradients on CPU."""

import jax
import jax.numpy as jnp

from bodycomp_jax.models.layers.convolution import PRECISION, convolve, sum_of_products


def narrow_conv(x: jax.Array, kernel: jax.Array, platform: str) -> jax.Array:
    """3x3 convolution with stride 1 and SAME padding.

    On CPU both gradients are products with nine shifts of the result's gradient, which has the
    fewer channels. XLA computes that of the kernel as a convolution whose window is the whole
    image, and collects the shifts once more for the other.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[3, 3, C, O]`, of the same type.
      platform: 'cpu', 'gpu' or 'tpu', for whose speed it is written; the result is the same.
    """
    return _on_cpu(x, kernel) if platform == 'cpu' else convolve(x, kernel)


@jax.custom_vjp
def _on_cpu(x, kernel):
    return convolve(x, kernel)


def _forward(x, kernel):
    return convolve(x, kernel), (x, kernel)


def _backward(saved, dy):
    x, kernel = saved
    C, O = kernel.shape[2:]
    shifts = _shifts(dy)
    dk = sum_of_products(x, shifts).reshape(C, 3, 3, O).transpose(1, 2, 0, 3)
    dx = jnp.dot(shifts, kernel.swapaxes(2, 3).reshape(9 * O, C), precision=PRECISION)
    return dx, dk.astype(kernel.dtype)


def _shifts(dy):
    """`[B, H, W, 9 * O]`: what each pixel had a part in, tap by tap."""
    H, W = dy.shape[1:3]
    shifts = jnp.pad(dy, ((0, 0), (1, 1), (1, 1), (0, 0)))
    # Two concatenations of three: XLA joins nine at once slowly.
    shifts = jnp.concatenate([shifts[:, :, 2 - j : 2 - j + W] for j in range(3)], axis=-1)
    return jnp.concatenate([shifts[:, 2 - i : 2 - i + H] for i in range(3)], axis=-1)


_on_cpu.defvjp(_forward, _backward)
