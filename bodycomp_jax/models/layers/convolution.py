"""3x3 convolutions of images and of upsampled images, with fast gradients.

A U-Net at full resolution with few channels is bound by memory traffic and, on CPU, by the gradient
of the kernel. Therefore no upsampled image is stored, and on CPU that gradient is a matrix product.
"""

from typing import Any

import jax
import jax.numpy as jnp

# float32 operands are multiplied in float32; by default TPUs use bfloat16 and NVIDIA GPUs TF32.
# Does not affect bfloat16 operands.
PRECISION = jax.lax.Precision.HIGHEST
# Input channels times output channels from which, on CPU, XLA computes the gradient of a 3x3 kernel
# faster as a matrix product than as a convolution. Two threads of a Xeon, jax 0.10, two images:
# 128 to 128 channels at 64 x 64: 24 instead of 42 ms; 16 to 32 at 256 x 256: 41 instead of 51 ms;
# but 16 to 16 at 512 x 512: 106 instead of 72 ms. On an EPYC a whole step of the default network
# takes 12 % less time with eight images, and the same with two.
MATMUL_FROM = 16 * 32


def pointwise(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """1x1 convolution as a matrix product, for `nn.Conv(conv_general_dilated=...)`.

    On CPU it and its gradients take a third of the time of the library's convolution.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[1, 1, C, O]`.
    """
    return jnp.dot(x, kernel[0, 0], precision=PRECISION)


@jax.custom_vjp
def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 convolution with stride 1 and zero padding: `[B, H, W, C]` to `[B, H, W, O]`.

    Args:
      x: `[B, H, W, C]`; its type is that of the arithmetic and the result.
      kernel: `[3, 3, C, O]`, of any float type.
    """
    return _conv(x, kernel.astype(x.dtype))


def conv_of_upsampled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`conv` of x upsampled 2x by nearest neighbour, without storing it: `[B, 2H, 2W, O]`.

    A row of the result depends on two rows of x only: an even row on those above and at it, an odd
    row on those at and below it; two of the three kernel rows multiply the same row of x and are
    summed. The same holds for columns. The result is therefore one 2x2 convolution with four times
    the output channels (4/9 of the operations), interleaved.

    Arguments as for `conv`.
    """
    B, H, W, _ = x.shape
    O = kernel.shape[-1]
    phases = _conv_2x2(x, _kernel_of_phases(kernel).astype(x.dtype))
    # The odd phase of row i and the even phase of row i + 1 depend on the same two rows of x.
    phases = phases.reshape(B, H + 1, W + 1, 2, 2, O).transpose(0, 1, 3, 2, 4, 5)
    return phases.reshape(B, 2 * H + 2, 2 * W + 2, O)[:, 1:-1, 1:-1]


def _kernel_of_phases(kernel):
    """`[3, 3, C, O]` as `[2, 2, C, 4 O]`: odd rows before even rows; the same for columns."""

    def halves(k):  # along the first axis: the kernel of odd results, and that of even results
        return jnp.stack([k[0] + k[1], k[2]]), jnp.stack([k[0], k[1] + k[2]])

    phases = [
        phase.swapaxes(0, 1)
        for rows in halves(kernel)  # [2, 3, C, O]
        for phase in halves(rows.swapaxes(0, 1))  # [2, 2, C, O], columns first
    ]
    return jnp.concatenate(phases, axis=-1)


@jax.custom_vjp
def _conv_2x2(x, kernel):
    """2x2 convolution, zero padding of 1: `[B, H, W, C]` to `[B, H + 1, W + 1, O]`."""
    return _conv(x, kernel)


def _conv(x, kernel):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=((1, 1), (1, 1)),
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        precision=PRECISION,
    )


def _library_gradients(x, kernel, dy):
    return jax.vjp(_conv, x, kernel)[1](dy)


def _gradients(x, kernel, dy):
    """Gradients of `conv` on CPU."""
    dx, dk = _library_gradients(x, kernel, dy)
    if x.shape[-1] * dy.shape[-1] >= MATMUL_FROM:
        dk = _kernel_gradient(x, dy)
    return dx, dk


def _kernel_gradient(x, dy):
    """Three shifts of x along W times three shifts of dy along H, summed over all pixels."""
    H, W = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    dy = jnp.pad(dy, ((0, 0), (1, 1), (0, 0), (0, 0)))
    C, O = x.shape[-1], dy.shape[-1]
    x = jnp.concatenate([x[:, :, j : j + W] for j in range(3)], axis=-1)
    dy = jnp.concatenate([dy[:, 2 - i : 2 - i + H] for i in range(3)], axis=-1)
    return _sum_of_products(x, dy).reshape(3, C, 3, O).transpose(2, 0, 1, 3)


def _gradients_2x2(x, kernel, dy):
    """Gradients of `_conv_2x2` on CPU, as matrix products."""
    H, W = x.shape[1:3]
    C, O = kernel.shape[2:]
    parts = jnp.einsum('bhwo,ijco->bhwijc', dy, kernel, precision=PRECISION)
    dx = sum(parts[:, 1 - i : 1 - i + H, 1 - j : 1 - j + W, i, j] for i in (0, 1) for j in (0, 1))
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [x[:, i : i + H + 1, j : j + W + 1] for i in (0, 1) for j in (0, 1)]
    dk = _sum_of_products(jnp.concatenate(windows, axis=-1), dy)
    return dx, dk.reshape(2, 2, C, O)


def _sum_of_products(x, y):
    """`[B, H, W, C]` and `[B, H, W, O]` to `[C, O]`, summed over all pixels."""
    rows = (a.reshape(-1, a.shape[-1]) for a in (x, y))
    return jnp.einsum('nc,no->co', *rows, precision=PRECISION)


def _conv_forward(x, kernel):
    return conv(x, kernel), (x, kernel)


def _conv_backward(saved, dy):
    x, kernel = saved
    dx, dk = jax.lax.platform_dependent(
        x, kernel.astype(x.dtype), dy, cpu=_gradients, default=_library_gradients
    )
    return dx, dk.astype(kernel.dtype)


def _conv_2x2_forward(x, kernel):
    return _conv_2x2(x, kernel), (x, kernel)


def _conv_2x2_backward(saved, dy):
    return jax.lax.platform_dependent(*saved, dy, cpu=_gradients_2x2, default=_library_gradients)


conv.defvjp(_conv_forward, _conv_backward)
_conv_2x2.defvjp(_conv_2x2_forward, _conv_2x2_backward)
