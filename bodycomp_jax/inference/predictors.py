"""Networks as functions of CT slices."""

import functools
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from bodycomp_jax import ct, vertebrae
from bodycomp_jax.config import DENSENET_SIDE, DenseNetConfig, UNetConfig
from bodycomp_jax.data.png import resized
from bodycomp_jax.errors import InputError
from bodycomp_jax.models.build import build_network, preprocess

MAX_BATCH = 16  # slices per call of the network; bounds the memory


class Segmenter:
    """Segments slices.

    Attributes:
      config: the options of the network.
      variables: its weights and running batch statistics, on the device.
      program: the jit-compiled function of the variables and `[B, H, W]` slices.
    """

    def __init__(self, config: UNetConfig, variables: Any, dtype: DTypeLike = jnp.float32):
        """`dtype`: precision of the arithmetic."""
        self.config, self.variables = config, jax.device_put(variables)
        network = build_network(config, dtype=dtype)

        def segment(variables, slices):
            logits: Any = network.apply(variables, preprocess(config, slices))
            probabilities = jax.nn.softmax(logits)
            return probabilities, probabilities.argmax(-1).astype(jnp.uint8)

        self.program = jax.jit(segment)

    def __call__(self, slices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Segments any number of slices.

        Args:
          slices: `[B, H, W]` HU (grey values for a network trained without the window).

        Returns:
          (`[B, H, W, C]` float32 probabilities, class 0 the background;
           `[B, H, W]` uint8 labels).

        Raises InputError if H or W is not a multiple of `config.size_divisor`, or a pixel is not
        finite.
        """
        slices = _validated(slices)
        divisor = self.config.size_divisor
        if slices.ndim != 3 or slices.shape[1] % divisor or slices.shape[2] % divisor:
            raise InputError(
                f'invalid slices of shape {slices.shape}: expected [slices, height, width] with '
                f'height and width multiples of {divisor}'
            )
        if slices.dtype != np.int16:  # half the bytes to send to the device
            slices = slices.astype(np.float32, copy=False)
        probabilities = np.empty((*slices.shape, self.config.num_classes), np.float32)
        labels = np.empty(slices.shape, np.uint8)
        segment = functools.partial(self.program, self.variables)
        _in_batches(segment, slices, (probabilities, labels))
        return probabilities, labels


class SliceSelector:
    """Predicts the offset of slices from vertebral levels, and finds the levels in a series.

    Attributes:
      config: the options of the network.
      variables: its weights and running batch statistics, on the device.
      program: the jit-compiled function of the variables and `[B, 256, 256]` grey values.
    """

    def __init__(self, config: DenseNetConfig, variables: Any, dtype: DTypeLike = jnp.float32):
        """`dtype`: precision of the arithmetic."""
        self.config, self.variables = config, jax.device_put(variables)
        network = build_network(config, dtype=dtype)

        def offsets(variables, images):
            logits: Any = network.apply(variables, preprocess(config, images))
            return config.threshold * logits

        self.program = jax.jit(offsets)

    def __call__(self, slices: np.ndarray) -> np.ndarray:
        """Predicts the offsets of any number of slices.

        Args:
          slices: `[B, H, W]` HU of any size; windowed and resized as in training.

        Returns:
          `[B, L]` float32 mm, positive towards the head, in the order of `config.levels`. Beyond
          three thresholds from the level only the sign is meaningful.

        Raises InputError for another shape, or if a pixel is not finite.
        """
        slices = _validated(slices)
        if slices.ndim != 3 or 0 in slices.shape[1:]:
            raise InputError(
                f'invalid slices of shape {slices.shape}: expected [slices, height, width]'
            )
        images = np.empty((len(slices), DENSENET_SIDE, DENSENET_SIDE), np.uint8)
        for image, hu in zip(images, slices, strict=True):
            image[:] = resized(ct.window(hu.astype(np.float32)).round().astype(np.uint8))
        offsets = np.empty((len(slices), len(self.config.levels)), np.float32)
        _in_batches(functools.partial(self.program, self.variables), images, offsets)
        return offsets

    def find(self, slices: np.ndarray, z: np.ndarray) -> dict[str, vertebrae.LevelPosition]:
        """Finds the levels in the slices of one series.

        Args:
          slices: `[B, H, W]` HU.
          z: `[B]` positions in mm, in any order, positive towards the head.

        Returns:
          {level: where it is, also between slices, how well the prediction fits, and whether it
          lies outside the series}.

        Raises InputError as `__call__`, and unless every slice has a finite position.
        """
        offsets = self(slices)
        z = np.asarray(z, float)
        if z.shape != (len(offsets),) or not len(z) or not np.isfinite(z).all():
            raise InputError(
                f'invalid z of shape {z.shape}: expected a finite position in mm for each of the '
                f'{len(offsets)} slices, at least one'
            )
        return {
            level: vertebrae.find_level(z, offsets[:, i], self.config.threshold)
            for i, level in enumerate(self.config.levels)
        }


def _validated(slices: Any) -> np.ndarray:
    """Slices as an array of finite numbers."""
    try:
        slices = np.asarray(slices)
    except ValueError as error:  # a list of arrays of different shapes
        raise InputError(
            f'invalid slices: they do not form an array [slices, height, width] ({error}); '
            'predict the slices of each size by a call of its own'
        ) from error
    if ct.slices_last(slices.shape):
        warnings.warn(
            f'slices of shape {slices.shape} count as {slices.shape[0]} slices of '
            f'{slices.shape[1]} x {slices.shape[2]}; if the last axis counts the slices, pass '
            'numpy.moveaxis(slices, 2, 0)',
            stacklevel=3,
        )
    if slices.dtype.kind not in 'iuf' or not np.isfinite(slices).all():
        raise InputError(f'invalid slices of type {slices.dtype}: expected finite numbers')
    return slices


def _in_batches(function: Callable, slices: np.ndarray, results: Any) -> None:
    """Fills `results`, a pytree of arrays, by `function` of at most `MAX_BATCH` slices.

    Batches are padded to a power of two, which bounds the number of compilations. The results of
    a batch are fetched while the next one is computed.
    """

    def computed():
        for start in range(0, len(slices), MAX_BATCH):
            batch = slices[start : start + MAX_BATCH]
            padding = 2 ** math.ceil(math.log2(len(batch))) - len(batch)
            rows = slice(start, start + len(batch))
            yield rows, function(np.pad(batch, ((0, padding), (0, 0), (0, 0))))

    for (rows, batch), _ in itertools.pairwise(itertools.chain(computed(), [None])):
        for result, values in zip(*map(jax.tree.leaves, (results, batch)), strict=True):
            result[rows] = np.asarray(values)[: rows.stop - rows.start]
