"""The logits of training, and labels in their order.

A loss sums over all pixels, so that logits stay in cells, `[B, H, W, pixels, classes]`, and the
labels, which are fewer bytes, are brought into this order. A TPU stores the last axis in lanes of
128: there logits are `[1, pixels, H, W * B, classes]`, with the classes one after the other and a
row of cells of all slices in the lanes.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from bodycomp_jax.models.layers.cells import Cell, fold_labels
from bodycomp_jax.models.layers.convolution import PRECISION, pointwise

PIECES = 3  # bfloat16 that add up to a float32


def logits_of_cells(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, classes: int, platform: str
) -> jax.Array:
    """A 1x1 convolution of cells, in float32.

    Args:
      x: cells `[B, H, W, C]`.
      kernel, bias: `[1, 1, C, pixels * classes]` and `[pixels * classes]`, float32.
      classes: of each pixel.
      platform: 'cpu', 'gpu' or 'tpu', in whose order the pixels are.

    Returns:
      Five axes, the last of which is that of the classes; float32.
    """
    if platform == 'tpu':
        by_class = _in_lanes(x, kernel.reshape(x.shape[-1], -1, classes))
        by_class += bias.reshape(-1, classes).T[:, :, None, None]
        return jnp.moveaxis(by_class, 0, -1)[None]
    logits = pointwise(x.astype(jnp.float32), kernel, platform) + bias.reshape(1, 1, 1, -1)
    return logits.reshape(*x.shape[:3], -1, classes)


def labels_of_cells(masks: jax.Array, cells: Sequence[Cell], platform: str) -> jax.Array:
    """Labels in the order of `logits_of_cells`, with four axes.

    Args:
      masks: `[B, H, W]` labels in 0..255.
      cells: into which pixels are folded, one after the other.
      platform: 'cpu', 'gpu' or 'tpu'.
    """
    labels = masks[..., None]
    for cell in cells:
        labels = fold_labels(labels, cell, platform)
    if platform != 'tpu':
        return labels
    labels = labels.transpose(3, 1, 2, 0)
    # Otherwise XLA would compute the loss in the order of the masks and move that.
    return jax.lax.optimization_barrier(labels.reshape(1, *labels.shape[:2], -1))


@jax.custom_vjp
def _in_lanes(x, kernel):
    """`[B, H, W, C]` times `[C, P, K]`: `[K, P, H, W * B]` float32."""
    return jnp.einsum('hnc,cpk->kphn', _rows(x).astype(jnp.float32), kernel, precision=PRECISION)


def _forward(x, kernel):
    return _in_lanes(x, kernel), (x, kernel)


def _backward(saved, dy):
    x, kernel = saved
    B, H, W, C = x.shape
    dx = jnp.einsum('kphn,cpk->hnc', dy, kernel, precision=PRECISION).astype(x.dtype)
    dx = dx.reshape(H, W, B, C).transpose(2, 0, 1, 3)
    parts = jnp.stack(_parts(dy, x.dtype))  # in one product, as otherwise x would be read by each
    dk = jnp.einsum(
        'hnc,ikphn->icpk', _rows(x), parts, precision=PRECISION, preferred_element_type=dy.dtype
    ).sum(0)
    # Behind a barrier, as otherwise XLA would store dx in float32.
    return jax.lax.optimization_barrier(dx), dk


_in_lanes.defvjp(_forward, _backward)


def _rows(x):
    """`[H, W * B, C]`, as a TPU stores `[B, H, W, C]`."""
    B, H, W, C = x.shape
    return x.transpose(1, 2, 0, 3).reshape(H, W * B, C)


def _parts(values, dtype):
    """Arrays of a type that add up to float32 values.

    A product of bfloat16 by float32 is one of two float32 for XLA, which would move the one first.
    """
    if dtype == values.dtype:
        return [values]
    parts = []
    for _ in range(PIECES):
        part = jax.lax.reduce_precision(values, exponent_bits=8, mantissa_bits=7)
        parts.append(part.astype(dtype))
        values -= part
    return parts
