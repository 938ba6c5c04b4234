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
from bodycomp_jax.data.plausibility import refuse_impossible_slices, refuse_types_without_hu
from bodycomp_jax.data.png import resized
from bodycomp_jax.errors import InputError
from bodycomp_jax.models.build import build_network, preprocess

MAX_BATCH = 16  # slices per call of the network; bounds the memory
MIN_SLICES, MAX_FALL = 5, -0.5  # of a series whose direction is judged, and its correlation
MIN_SPACING = 0.1  # mm between slices; CT has none that are closer


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
        self._dtype = dtype
        network = build_network(config, dtype=dtype)

        def segment(variables, slices):
            logits: Any = network.apply(variables, preprocess(config, slices))
            probabilities = jax.nn.softmax(logits)
            return probabilities, probabilities.argmax(-1).astype(jnp.uint8)

        self.program = jax.jit(segment)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.config, jax.device_get(self.variables), self._dtype)

    def __call__(
        self, slices: np.ndarray, *, check_values: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Segments any number of slices.

        Args:
          slices: `[B, H, W]` HU (grey values for a network trained without the window).
          check_values: whether values that cannot be HU (or grey values) are refused.

        Returns:
          (`[B, H, W, C]` float32 probabilities, class 0 the background;
           `[B, H, W]` uint8 labels).

        Raises InputError if H or W is not a multiple of `config.size_divisor`, a pixel is not
        finite, or the slices cannot be HU.
        """
        apply_window = self.config.apply_window_function
        slices = _validated(slices, apply_window)
        divisor = self.config.size_divisor
        if slices.ndim != 3 or any(n == 0 or n % divisor for n in slices.shape[1:]):
            raise InputError(
                f'invalid slices of shape {slices.shape}: expected [slices, height, width] with '
                f'height and width multiples of {divisor}'
            )
        if check_values:
            refuse_impossible_slices(slices, apply_window)
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
        self._dtype = dtype
        network = build_network(config, dtype=dtype)

        def offsets(variables, images):
            logits: Any = network.apply(variables, preprocess(config, images))
            return config.threshold * logits

        self.program = jax.jit(offsets)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.config, jax.device_get(self.variables), self._dtype)

    def __call__(self, slices: np.ndarray, *, check_values: bool = True) -> np.ndarray:
        """Predicts the offsets of any number of slices.

        Args:
          slices: `[B, H, W]` HU of any size; windowed and resized as in training.
          check_values: whether values that cannot be HU are refused.

        Returns:
          `[B, L]` float32 mm, positive towards the head, in the order of `config.levels`. Beyond
          three thresholds from the level only the sign is meaningful.

        Raises InputError for another shape, if a pixel is not finite, or if the slices cannot be
        HU, such as the PNG slices of the training.
        """
        slices = _validated(slices, apply_window=True)
        if slices.ndim != 3 or 0 in slices.shape[1:]:
            raise InputError(
                f'invalid slices of shape {slices.shape}: expected [slices, height, width]'
            )
        if check_values:
            refuse_impossible_slices(slices, apply_window=True)
        images = np.empty((len(slices), DENSENET_SIDE, DENSENET_SIDE), np.uint8)
        for image, hu in zip(images, slices, strict=True):
            image[:] = resized(ct.window(hu.astype(np.float32)).round().astype(np.uint8))
        offsets = np.empty((len(slices), len(self.config.levels)), np.float32)
        _in_batches(functools.partial(self.program, self.variables), images, offsets)
        return offsets

    def find(
        self, slices: np.ndarray, z: np.ndarray, *, check_values: bool = True
    ) -> dict[str, vertebrae.LevelPosition]:
        """Finds the levels in the slices of one series.

        Args:
          slices: `[B, H, W]` HU.
          z: `[B]` positions in mm, in any order, positive towards the head.
          check_values: whether values that cannot be HU are refused.

        Returns:
          {level: where it is, also between slices, how well the prediction fits, and whether it
          lies outside the series}.

        Raises InputError as `__call__`, and unless every slice has a finite position.
        """
        offsets = self(slices, check_values=check_values)
        z = np.asarray(z, float)
        if z.shape != (len(offsets),) or not len(z) or not np.isfinite(z).all():
            raise InputError(
                f'invalid z of shape {z.shape}: expected a finite position in mm for each of the '
                f'{len(offsets)} slices, at least one'
            )
        if 0 < np.ptp(z) < MIN_SPACING * (len(z) - 1):
            warnings.warn(
                f'{len(z)} slices within {np.ptp(z):.3g} mm: z must be in mm', stacklevel=2
            )
        if _falls(z, offsets, self.config.threshold):
            warnings.warn(
                'the predicted offsets fall where z rises: z must be positive towards the head '
                '(else pass -z), and in the order of the slices',
                stacklevel=2,
            )
        return {
            level: vertebrae.find_level(z, offsets[:, i], self.config.threshold)
            for i, level in enumerate(self.config.levels)
        }


def _falls(z: np.ndarray, offsets: np.ndarray, threshold: float) -> bool:
    """Whether the offsets of every level fall towards the head, as far as they say anything."""
    reach = vertebrae.SIGMOID_RANGE * threshold
    offsets = offsets.clip(-reach, reach)
    if len(z) < MIN_SLICES or np.ptp(z) == 0 or np.ptp(offsets, axis=0).min() < threshold:
        return False
    return all(np.corrcoef(z, mm)[0, 1] < MAX_FALL for mm in offsets.T)


def _validated(slices: Any, apply_window: bool) -> np.ndarray:
    """Slices as an array of finite numbers, of a type that can hold HU if those are expected."""
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
    if apply_window:
        refuse_types_without_hu(slices.dtype, 'slices')
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
