"""Networks as functions of CT slices."""

import abc
import functools
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from bodycomp_jax import ct, vertebrae
from bodycomp_jax.config import DENSENET_SIDE, UNetConfig, as_flag
from bodycomp_jax.data.plausibility import refuse_impossible_slices, refuse_types_without_hu
from bodycomp_jax.data.squares import selection_square
from bodycomp_jax.errors import InputError
from bodycomp_jax.inference.batches import in_batches, platform, replicated
from bodycomp_jax.models.build import as_inputs, build_network
from bodycomp_jax.runtime.devices import COMPILER_OPTIONS

MIN_SLICES, MAX_FALL = 5, -0.5  # of a series whose direction is judged, and its correlation
MIN_SPACING = 0.1  # mm between slices; CT has none that are closer


class Predictor(abc.ABC):
    """Networks of one kind, on the devices, which predict together: `Segmenter`, `SliceSelector`.

    Attributes:
      config: the options of the first network; all have those of its `meaning`.
      variables: of each network its weights and running batch statistics, on the device.
      program: `function` compiled.
    """

    def __init__(
        self,
        networks: Sequence[tuple[Any, Any]],
        dtype: DTypeLike = jnp.float32,
        *,
        devices: Sequence[jax.Device] = (),
    ):
        """Puts the networks on the devices.

        Args:
          networks: (options, variables) of each.
          dtype: precision of the arithmetic.
          devices: over which batches are spread; the default device if none is named.

        Raises InputError if what the networks predict has different meanings.
        """
        configs = [config for config, _ in networks]
        _refuse_differences(configs)
        self.config, self._configs, self._dtype, self._devices = configs[0], configs, dtype, devices
        self.variables = replicated(tuple(variables for _, variables in networks), devices)
        kind = platform(self.variables)
        self._networks = [build_network(config, dtype=dtype, platform=kind) for config in configs]
        self.program = jax.jit(self.function, compiler_options=COMPILER_OPTIONS.get(kind))

    @abc.abstractmethod
    def function(self, all_variables: Any, slices: jax.Array) -> Any:
        """The prediction as a function of `variables`, to be a part of other programs."""

    def __reduce__(self) -> tuple[Any, ...]:
        networks = list(zip(self._configs, jax.device_get(self.variables), strict=True))
        return functools.partial(type(self), **self._options()), (networks, self._dtype)

    def _options(self) -> dict[str, Any]:
        """What it was made with, besides networks, precision and devices."""
        return {}

    def _outputs(self, all_variables: Any, slices: jax.Array) -> list[Any]:
        """Of each network, for slices as they are on disk."""
        return [
            network.apply(variables, as_inputs(slices))
            for network, variables in zip(self._networks, all_variables, strict=True)
        ]


class Segmenter(Predictor):
    """Segments slices by one network, or by the mean of the probabilities of several.

    Attributes:
      size_divisor: height and width of the slices must be multiples of this.
    """

    def __init__(
        self,
        networks: Sequence[tuple[UNetConfig, Any]],
        dtype: DTypeLike = jnp.float32,
        *,
        test_time_flip: bool = False,
        devices: Sequence[jax.Device] = (),
    ):
        """As `Predictor`.

        Args:
          networks, dtype, devices: see there.
          test_time_flip: whether each network also predicts the slices mirrored left to right.
        """
        self._test_time_flip = test_time_flip
        super().__init__(networks, dtype, devices=devices)
        self.size_divisor = max(config.size_divisor for config in self._configs)

    def function(self, all_variables: Any, slices: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(probabilities, labels) of `[B, H, W]` slices, as `__call__`."""
        found = list(map(jax.nn.softmax, self._outputs(all_variables, slices)))
        if self._test_time_flip:
            mirrored = self._outputs(all_variables, slices[:, :, ::-1])
            found += [jax.nn.softmax(logits)[:, :, ::-1] for logits in mirrored]
        probabilities = _mean(found)
        return probabilities, probabilities.argmax(-1).astype(jnp.uint8)

    def _options(self) -> dict[str, Any]:
        return {'test_time_flip': self._test_time_flip}

    def is_trained_on(self, level: str) -> bool:
        """Whether no network is known to be trained on slices of other vertebral levels alone."""
        return all(level in config.levels for config in self._configs if config.levels)

    def members(self) -> list['Segmenter']:
        """Each network as a segmenter of its own; itself if it is one network."""
        if len(self._configs) == 1:
            return [self]
        return [
            Segmenter([network], self._dtype, devices=self._devices, **self._options())
            for network in zip(self._configs, self.variables, strict=True)
        ]

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

        Raises InputError if H or W is not a multiple of `size_divisor`, a pixel is not
        finite, or the slices cannot be HU.
        """
        apply_window = self.config.apply_window_function
        slices = _validated(slices, apply_window)
        divisor = self.size_divisor
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
        in_batches(segment, slices, (probabilities, labels), self._devices)
        return probabilities, labels


class SliceSelector(Predictor):
    """Predicts the offset of slices from vertebral levels, and finds the levels in a series.

    It predicts by one network, or by the mean of the offsets of several.
    """

    def function(self, all_variables: Any, slices: jax.Array) -> jax.Array:
        """Offsets as `__call__`, of `[B, 256, 256]` grey values."""
        return self.config.threshold * _mean(self._outputs(all_variables, slices))

    def __call__(self, slices: np.ndarray, *, check_values: bool = True) -> np.ndarray:
        """Predicts the offsets of any number of slices.

        Args:
          slices: `[B, H, W]` HU of any size; windowed, padded and resized as in training.
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
            image[:] = selection_square(hu)
        offsets = np.empty((len(slices), len(self.config.levels)), np.float32)
        predict = functools.partial(self.program, self.variables)
        in_batches(predict, images, offsets, self._devices)
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
        z = _positions(z, len(offsets))
        if np.ptp(z) < MIN_SPACING * (len(z) - 1):
            warnings.warn(
                f'{len(z)} slices within {np.ptp(z):.3g} mm: z must be the position of each slice '
                'in mm',
                stacklevel=2,
            )
        if _falls(z, offsets, self.config.threshold):
            warnings.warn(
                'the predicted offsets fall where z rises: z must be positive towards the head '
                '(else pass -z), and in the order of the slices',
                stacklevel=2,
            )
        return vertebrae.find_levels(z, offsets, self.config.levels, self.config.threshold)


def _mean(arrays: Sequence[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, arrays) / len(arrays)


def _refuse_differences(configs: Sequence[Any]) -> None:
    """Raises InputError if networks predict different things."""
    for name in configs[0].meaning:
        first, *others = (getattr(config, name) for config in configs)
        for other in others:
            if other != first:
                raise InputError(
                    f'networks with {as_flag(name, first)} and with {as_flag(name, other)} cannot '
                    'predict together; load each alone'
                )


def _positions(z: Any, count: int) -> np.ndarray:
    """`[count]` mm. Raises InputError for anything else."""
    given = np.asarray(z, object)
    try:
        positions = given.astype(float)
        fits = positions.shape == (count,) and count > 0 and np.isfinite(positions).all()
    except (TypeError, ValueError):  # not numbers
        fits = False
    if not fits:
        raise InputError(
            f'invalid z of shape {given.shape}: expected a finite position in mm for each of the '
            f'{count} slices, at least one'
        )
    return positions


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
    if slices.dtype.kind not in 'iuf':
        raise InputError(f'invalid slices of type {slices.dtype}: expected numbers, int16 HU')
    if slices.dtype.kind == 'f':
        with np.errstate(over='ignore'):  # from float64
            missing = np.count_nonzero(~np.isfinite(slices.astype(np.float32)))
        if missing:
            raise InputError(
                f'invalid slices: {missing:,} pixels are not finite; replace them, for example by '
                '-1024 HU (air)'
            )
    if apply_window:
        refuse_types_without_hu(slices.dtype, 'slices')
    return slices
