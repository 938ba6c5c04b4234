"""The logits of cells, and labels in their order.

A loss, which sums over all pixels, takes them as they are, `[B, H, W, pixels]`. A TPU stores the
last axis in lanes of 128: there that of training is a row of cells of all slices,
`[pixels, H, W * B]`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from bodycomp_jax.models.layers.cells import Cell, diagonal_kernel, fold_labels
from bodycomp_jax.models.layers.convolution import PRECISION, pointwise

PIECES = 3  # bfloat16 that add up to a float32


def logits_of_cells(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    *,
    classes: int,
    cell: Cell,
    platform: str,
    in_lanes: bool,
) -> jax.Array:
    """A 1x1 convolution in float32, class by class.

    Args:
      x: cells `[B, H, W, pixels * C]`.
      kernel, bias: `[1, 1, C, O]` and `[O]`, float32; O is a multiple of the classes, with those of
        each of several pixels.
      classes: of each pixel.
      cell: of x.
      platform: 'cpu', 'gpu' or 'tpu', for whose speed it is written.
      in_lanes: whether in the order of a TPU.

    Returns:
      `[B, H, W, pixels, classes]` or, in lanes, `[pixels, H, W * B, classes]` float32.
    """
    kernel, bias = diagonal_kernel(kernel, cell), jnp.tile(bias, cell.pixels)
    if in_lanes:
        of_pixels = kernel.reshape(kernel.shape[2], -1, classes)
        by_class = _in_lanes(x, of_pixels) + bias.reshape(-1, classes).T[:, :, None, None]
        return jnp.moveaxis(by_class, 0, -1)
    logits = pointwise(x.astype(jnp.float32), kernel, platform) + bias.reshape(1, 1, 1, -1)
    return logits.reshape(*x.shape[:3], -1, classes)


def labels_of_cells(masks: jax.Array, cells: Sequence[Cell], platform: str) -> jax.Array:
    """Labels `[B, H, W]` of up to 255 in the order in which a platform trains.

    Args:
      masks: the labels.
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
    return jax.lax.optimization_barrier(labels.reshape(*labels.shape[:2], -1))


@jax.custom_vjp
def _in_lanes(x, kernel):
    """`[B, H, W, C]` times `[C, P, K]`: `[K, P, H, W * B]`."""
    product = 'hnc,cpk->kphn'
    return jnp.einsum(product, _rows(x).astype(jnp.float32), kernel, precision=PRECISION)


def _forward(x, kernel):
    return _in_lanes(x, kernel), (x, kernel)


def _backward(saved, dy):
    x, kernel = saved
    B, H, W, C = x.shape
    dx = jnp.einsum('kphn,cpk->hnc', dy, kernel, precision=PRECISION).astype(x.dtype)
    dx = dx.reshape(H, W, B, C).transpose(2, 0, 1, 3)
    # In float32, as pieces: of a product of float32, XLA would move x first.
    rest, dk = dy, jnp.zeros_like(kernel)
    for _ in range(PIECES):
        piece = jax.lax.reduce_precision(rest, exponent_bits=8, mantissa_bits=7)
        dk += _sum_of_products(_rows(x), piece.astype(jnp.bfloat16))
        rest -= piece
    # Behind a barrier, as otherwise XLA would store dx in float32.
    return jax.lax.optimization_barrier(dx), dk


_in_lanes.defvjp(_forward, _backward)


def _sum_of_products(rows, dy):
    product = 'hnc,kphn->cpk'
    return jnp.einsum(product, rows, dy, precision=PRECISION, preferred_element_type=jnp.float32)


def _rows(x):
    B, H, W, C = x.shape
    return x.transpose(1, 2, 0, 3).reshape(H, W * B, C)
