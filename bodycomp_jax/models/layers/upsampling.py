"""3x3 convolutions of images upsampled 2x by nearest neighbour, which are never stored.

Two of the three kernel rows multiply the same row of the small image wherever they are, and are
summed: 4/9 of the operations are left. The same holds for columns.
"""

import jax
import jax.numpy as jnp

from bodycomp_jax.models.layers.convolution import PRECISION, convolve, sum_of_products


def conv_of_upsampled(x: jax.Array, kernel: jax.Array, platform: str) -> jax.Array:
    """`conv` of x upsampled: `[B, H, W, C]` to `[B, 2H, 2W, O]`.

    Arguments as for `convolution.conv`.
    """
    formulation = _by_phases if platform == 'cpu' else _by_transpose
    return formulation(x, kernel)


def _by_transpose(x, kernel):
    """The transpose of a 4x4 convolution with stride 2."""

    def four(k):  # along the first axis
        return jnp.stack([k[2], k[1] + k[2], k[0] + k[1], k[0]])

    kernel = four(four(kernel).swapaxes(0, 1)).swapaxes(0, 1)
    return _transposed(x, kernel.swapaxes(2, 3).astype(x.dtype))


@jax.custom_vjp
def _transposed(x, kernel):
    """The transpose of `_halving`; `kernel` is that of `_halving`, `[4, 4, O, C]`."""
    B, H, W, _ = x.shape
    large = jax.ShapeDtypeStruct((B, 2 * H, 2 * W, kernel.shape[2]), x.dtype)
    (y,) = jax.linear_transpose(lambda y: _halving(y, kernel), large)(x)
    return y


def _halving(y, kernel):
    """4x4 convolution with stride 2: `[B, 2H, 2W, O]` to `[B, H, W, C]`."""
    return convolve(y, kernel, strides=(2, 2))


def _transposed_forward(x, kernel):
    return _transposed(x, kernel), (x, kernel)


def _transposed_backward(saved, dy):
    # By the transposition of the transpose, XLA would not find the convolutions of the libraries.
    x, kernel = saved
    (dk,) = jax.linear_transpose(lambda kernel: _halving(dy, kernel), kernel)(x)
    return _halving(dy, kernel), dk


_transposed.defvjp(_transposed_forward, _transposed_backward)


def _by_phases(x, kernel):
    """One 2x2 convolution to four times the channels, interleaved.

    A row of the result depends on two rows of x only: an even row on those above and at it, an odd
    row on those at and below it.
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
    return convolve(x, kernel)


def _conv_2x2_forward(x, kernel):
    return _conv_2x2(x, kernel), (x, kernel)


def _conv_2x2_backward(saved, dy):
    """Gradients as matrix products, which are faster on CPU."""
    x, kernel = saved
    H, W = x.shape[1:3]
    C, O = kernel.shape[2:]
    parts = jnp.einsum('bhwo,ijco->bhwijc', dy, kernel, precision=PRECISION)
    dx = sum(parts[:, 1 - i : 1 - i + H, 1 - j : 1 - j + W, i, j] for i in (0, 1) for j in (0, 1))
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [x[:, i : i + H + 1, j : j + W + 1] for i in (0, 1) for j in (0, 1)]
    dk = sum_of_products(jnp.concatenate(windows, axis=-1), dy)
    return dx, dk.reshape(2, 2, C, O).astype(kernel.dtype)


_conv_2x2.defvjp(_conv_2x2_forward, _conv_2x2_backward)
