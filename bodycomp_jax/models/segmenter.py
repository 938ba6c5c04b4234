"""A trained segmentation network as a function of CT slices."""

import math
from collections.abc import Callable

import jax
import numpy as np

from bodycomp_jax.errors import InputError

MAX_BATCH = 16  # slices computed at a time: bounds the memory


class Segmenter:
    """Call it with slices.

    Attributes:
      config: the `SegmentationConfig` of the network.
      variables: its weights and running batch statistics, on the device that predicts.
    """

    def __init__(self, config, variables, logits: Callable):
        """`logits` maps (variables, slices `[B, H, W]`) to `[B, H, W, C]`."""
        self.config, self.variables = config, jax.device_put(variables)
        self._probabilities = jax.jit(lambda *args: jax.nn.softmax(logits(*args)))

    def __call__(self, slices):
        """Segments any number of slices, at most `MAX_BATCH` at a time.

        Args:
          slices: `[B, H, W]` HU (grey values, if it was trained without the window).

        Returns:
          (`[B, H, W, C]` float32 probabilities, class 0 the background;
           `[B, H, W]` uint8 labels).

        Raises InputError if H or W cannot be halved as often as the network does, and for pixels
        that are no finite numbers.
        """
        slices = np.asarray(slices)
        if slices.dtype.kind not in 'iuf' or not np.isfinite(slices).all():
            raise InputError(
                f'slices of type {slices.dtype} with pixels that are no finite numbers'
            )
        divisor = self.config.size_divisor
        if slices.ndim != 3 or slices.shape[1] % divisor or slices.shape[2] % divisor:
            raise InputError(
                f'slices of shape {slices.shape}; this network takes [slices, height, width], '
                f'height and width multiples of {divisor}'
            )
        probabilities = np.empty((*slices.shape, self.config.num_classes), np.float32)
        for start in range(0, len(slices), MAX_BATCH):
            part = slice(start, start + MAX_BATCH)
            probabilities[part] = self._part(slices[part])
        return probabilities, probabilities.argmax(-1).astype(np.uint8)

    def _part(self, slices):
        """Pads to a power of two, so that few batch sizes are ever compiled."""
        B = len(slices)
        padding = 2 ** math.ceil(math.log2(B)) - B
        padded = np.pad(slices.astype(np.float32), ((0, padding), (0, 0), (0, 0)))
        return np.asarray(self._probabilities(self.variables, padded))[:B]
