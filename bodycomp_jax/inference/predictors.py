"""Trained networks as functions of CT slices."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from bodycomp_jax import ct, vertebrae
from bodycomp_jax.config import SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.data.png import SIDE, resized
from bodycomp_jax.errors import InputError
from bodycomp_jax.models import densenet, unet

MAX_BATCH = 16  # slices computed at a time: bounds the memory


class Segmenter:
    """Call it with slices.

    Attributes:
      config: the `SegmentationConfig` of the network.
      variables: its weights and running batch statistics, on the device that predicts.
      program: what is compiled: of the variables and slices, its results, on that device.
    """

    def __init__(self, config, variables, dtype=jnp.float32):
        """`dtype`: precision of the arithmetic."""
        self.config, self.variables = config, jax.device_put(variables)
        network = unet.from_config(config, dtype=dtype)

        def segmented(variables, slices):
            images = unet.inputs(slices, apply_window=config.apply_window_function)
            probabilities = jax.nn.softmax(network.apply(variables, images))
            return probabilities, probabilities.argmax(-1).astype(jnp.uint8)

        self.program = jax.jit(segmented)

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
        slices = _checked(slices)
        divisor = self.config.size_divisor
        if slices.ndim != 3 or slices.shape[1] % divisor or slices.shape[2] % divisor:
            raise InputError(
                f'slices of shape {slices.shape}; this network takes [slices, height, width], '
                f'height and width multiples of {divisor}'
            )
        if slices.dtype != np.int16:  # which is half as much to send to the device
            slices = slices.astype(np.float32, copy=False)
        probabilities = np.empty((*slices.shape, self.config.num_classes), np.float32)
        labels = np.empty(slices.shape, np.uint8)
        segmented = functools.partial(self.program, self.variables)
        _in_parts(segmented, slices, (probabilities, labels))
        return probabilities, labels


class SliceSelector:
    """Call it with slices, or let it find the levels in a series.

    Attributes:
      config: the `SliceSelectionConfig` of the network.
      variables: its weights and running batch statistics, on the device that predicts.
      program: what is compiled: of the variables and `[B, 256, 256]` grey values, its results, on
        that device.
    """

    def __init__(self, config, variables, dtype=jnp.float32):
        """`dtype`: precision of the arithmetic."""
        self.config, self.variables = config, jax.device_put(variables)
        network = densenet.from_config(config, dtype=dtype)

        def offsets(variables, images):
            return config.threshold * network.apply(variables, densenet.inputs(images))

        self.program = jax.jit(offsets)

    def __call__(self, slices):
        """Tells how far slices are from the levels.

        Args:
          slices: `[B, H, W]` HU, of any size; they are windowed and resized as in training.

        Returns:
          `[B, L]` float32 mm, positive towards the head, in the order of `config.levels`. Beyond
          three thresholds of the level only the direction means something.

        Raises InputError for another shape and for pixels that are no finite numbers.
        """
        slices = _checked(slices)
        if slices.ndim != 3 or 0 in slices.shape[1:]:
            raise InputError(
                f'slices of shape {slices.shape}; this network takes [slices, height, width]'
            )
        images = np.empty((len(slices), SIDE, SIDE), np.uint8)
        for image, hu in zip(images, slices, strict=True):
            image[:] = resized(ct.window(hu.astype(np.float32)).round().astype(np.uint8))
        offsets = np.empty((len(slices), len(self.config.levels)), np.float32)
        _in_parts(functools.partial(self.program, self.variables), images, offsets)
        return offsets

    def find(self, slices, z):
        """Finds the levels in the slices of one series.

        Args:
          slices: as above.
          z: `[B]` positions in mm, in any order, positive towards the head.

        Returns:
          {level: its position in mm, also between slices}. A level outside of the series is
          put at one of its ends or a slice that resembles it.
        """
        offsets = self(slices)
        z = np.asarray(z, float)
        if z.shape != (len(offsets),) or not len(z) or not np.isfinite(z).all():
            raise InputError(
                f'z of shape {z.shape}; give a finite position in mm for each of the '
                f'{len(offsets)} slices, at least one'
            )
        return {
            level: vertebrae.find_level(z, offsets[:, i], self.config.threshold)
            for i, level in enumerate(self.config.levels)
        }


def predictor(config, variables, dtype=jnp.float32):
    """What a network of this config is to its user: a `Segmenter` or a `SliceSelector`."""
    kinds = {SegmentationConfig: Segmenter, SliceSelectionConfig: SliceSelector}
    return kinds[type(config)](config, variables, dtype)


def shapes(config):
    """The variables of a network of this config, as `jax.ShapeDtypeStruct`s."""
    if isinstance(config, SliceSelectionConfig):
        network, side = densenet.from_config(config), SIDE
    else:
        network, side = unet.from_config(config), config.size_divisor
    of_parts = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, side, side, 1)))
    return {'batch_stats': {}, **of_parts}  # without batch norms there are none


def _checked(slices):
    """Slices as an array of finite numbers."""
    slices = np.asarray(slices)
    if slices.dtype.kind not in 'iuf' or not np.isfinite(slices).all():
        raise InputError(f'slices of type {slices.dtype} with pixels that are no finite numbers')
    return slices


def _in_parts(function, slices, results):
    """Fills `results`, a pytree of arrays, by `function` of at most `MAX_BATCH` slices.

    They are padded to a power of two, so that few batch sizes are ever compiled; what a part gave
    is fetched when the next one is under way.
    """

    def computed():
        for start in range(0, len(slices), MAX_BATCH):
            part = slices[start : start + MAX_BATCH]
            padding = 2 ** math.ceil(math.log2(len(part))) - len(part)
            rows = slice(start, start + len(part))
            yield rows, function(np.pad(part, ((0, padding), (0, 0), (0, 0))))

    for (rows, part), _ in itertools.pairwise(itertools.chain(computed(), [None])):
        for result, values in zip(*map(jax.tree.leaves, (results, part)), strict=True):
            result[rows] = np.asarray(values)[: rows.stop - rows.start]
