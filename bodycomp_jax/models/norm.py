"""Batch norm as both networks have it."""

from flax import linen as nn

EPSILON = 1e-3  # as in the reference
MOMENTUM = 0.9  # 0.99 leaves the running statistics far behind on small sets


def batch_norm(name, *, train, dtype, axis_name):
    """A batch norm with float32 parameters and statistics.

    Args:
      name: of the layer.
      train: normalise by the statistics of the batch and update the running ones.
      dtype: precision of the arithmetic.
      axis_name: the mapped axis over which the batch statistics are taken, if any.
    """
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=MOMENTUM,
        epsilon=EPSILON,
        axis_name=axis_name,
        dtype=dtype,
        name=name,
    )
