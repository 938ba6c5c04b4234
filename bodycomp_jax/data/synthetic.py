"""Synthetic slices that are drawn while a network trains."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from bodycomp_jax.config import (
    DENSENET_SIDE,
    SegmentationConfig,
    SliceSelectionConfig,
    TrainerConfig,
    as_flag,
)
from bodycomp_jax.data import phantom
from bodycomp_jax.data.dataset import Dataset, Example, LevelledSet
from bodycomp_jax.data.kept_slices import KeptSlices
from bodycomp_jax.data.squares import selection_square
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.runtime.host_memory import available_bytes
from bodycomp_jax.vertebrae import REFERENCES

SIDE = 512  # pixels, where neither a set nor the network says otherwise
VAL_SLICES = 64  # of as many subjects
VAL_TRUNKS, VAL_SPACING = 8, 10.0  # subjects; mm between slices
MAX_FRACTION = 0.8  # of the free memory, for slices that are kept
SAMPLE = 4  # slices that identify what is drawn
BITS = 64  # of the number of a slice in its seed
VAL_SEED = 1 << BITS  # the first; above those of sets in files


class Map(Protocol):
    """`map` as a list, in this process or in others."""

    def __call__(
        self, function: Callable[[int], Example], items: Sequence[int], /
    ) -> list[Example]: ...


class SyntheticSet:
    """A training `Dataset` without end, alone or beside a set in files.

    The rows from `len` on are drawn: row `len` + i is slice i of the seed, the same in each run,
    unless several epochs see the same slices, see `KeptSlices`.
    """

    def __init__(
        self,
        draw: Callable[[int], Example],
        map_: Map,
        config: TrainerConfig,
        image_shape: tuple[int, int],
        beside: Dataset | None = None,
    ) -> None:
        """Draws nothing.

        Args:
          draw: the example that belongs to a seed.
          map_: draws several.
          config: the hyper-parameters.
          image_shape: (height, width) of the slices.
          beside: a set with slices of this shape, whose examples come first.
        """
        self._draw, self._map, self._config, self._beside = draw, map_, config, beside
        self.image_shape = image_shape
        self._kept: KeptSlices | None = None
        if config.synthetic_epochs > 1:
            steps = config.steps_per_epoch(len(self))
            self._kept = KeptSlices(
                steps, config.num_synthetic, config.synthetic_epochs, config.seed
            )

    def __len__(self) -> int:
        return 0 if self._beside is None else len(self._beside)

    def read(self, rows: np.ndarray) -> Example:
        """See `Dataset`."""
        is_drawn = rows >= len(self)
        if self._beside is not None and not is_drawn.any():
            return self._beside.read(rows)
        indices = rows[is_drawn] - len(self)
        drawn = (
            self._drawn(indices) if self._kept is None else self._kept.read(indices, self._drawn)
        )
        if self._beside is None:
            return drawn
        batch = {}
        for name, array in self._beside.read(rows[~is_drawn]).items():
            batch[name] = np.empty((len(rows), *array.shape[1:]), array.dtype)
            batch[name][~is_drawn], batch[name][is_drawn] = array, drawn[name]
        return batch

    def validate(self) -> None:
        """Draws a few slices, and validates the set in files.

        Raises InputError if the slices that several epochs see do not fit into the memory.
        """
        self._sample = self._drawn(np.arange(SAMPLE))
        if self._bytes_kept() > MAX_FRACTION * available_bytes():
            raise InputError(self._too_large())
        if self._beside is not None:
            self._beside.validate()

    def describe(self) -> str:
        """How many slices are synthetic, and what the others are."""
        H, W = self.image_shape
        drawn = f'synthetic slices of {H} x {W}, drawn while training'
        if self._kept is not None:
            drawn += (
                f', each seen in {self._config.synthetic_epochs} epochs '
                f'({self._bytes_kept() / 1e9:.1f} GB of memory)'
            )
        if self._beside is None:
            return drawn
        config = self._config
        return (
            f'{self._beside.describe()}; with {config.num_synthetic} of {config.batch_size} in '
            f'each batch {drawn}'
        )

    def warnings(self) -> list[str]:
        """See `Dataset`."""
        return [] if self._beside is None else self._beside.warnings()

    def refuse_changes(self) -> None:
        """See `Dataset`."""
        if self._beside is not None:
            self._beside.refuse_changes()

    def fingerprint(self) -> dict[str, dict[str, Any]]:
        """That of the set in files, and the rounded means of some synthetic slices.

        Rounded, as another processor may draw other last bits.
        """
        own = {'shape': list(self.image_shape), 'means': _means(self._sample)}
        return {**({} if self._beside is None else self._beside.fingerprint()), 'synthetic': own}

    def _drawn(self, numbers: np.ndarray) -> Example:
        first = (2 + self._config.seed) << BITS  # beyond `VAL_SEED` and those that follow it
        return stacked(self._map(self._draw, [first + int(number) for number in numbers]))

    def _bytes_kept(self) -> int:
        if self._kept is None:
            return 0
        return sum(array[0].nbytes for array in self._sample.values()) * self._kept.count

    def _too_large(self) -> str:
        return (
            f'{as_flag("synthetic_epochs", self._config.synthetic_epochs)}: the slices of an '
            f'epoch take {self._bytes_kept() / 1e9:.1f} GB of memory, more than {MAX_FRACTION:.0%} '
            f'of the {available_bytes() / 1e9:.1f} GB that are free; free some, or train anew with '
            'fewer --batches_per_epoch or without --synthetic_epochs'
        )


class DrawnSet:
    """A validation `Dataset` of synthetic slices in memory, the same for every training.

    Attributes:
      offsets: `[N, L]` float32 mm, of slices with offsets.
      series: {name: `[n]` indices of its slices}.
    """

    def __init__(self, examples: Example, series: dict[str, np.ndarray]) -> None:
        self._examples = examples
        _, H, W = examples['image'].shape
        self.image_shape = (H, W)
        self.offsets = examples.get('offset', np.zeros((len(self), 0), np.float32))
        self.series = series

    def __len__(self) -> int:
        return len(self._examples['image'])

    def read(self, rows: np.ndarray) -> Example:
        """See `Dataset`."""
        return {name: array[rows] for name, array in self._examples.items()}

    def validate(self) -> None:
        """Does nothing: there is nothing that could be wrong."""

    def describe(self) -> str:
        """Their number and size."""
        H, W = self.image_shape
        return f'{len(self)} synthetic slices of {len(self.series)} subjects, {H} x {W}'

    def warnings(self) -> list[str]:
        """None."""
        return []

    def refuse_changes(self) -> None:
        """Does nothing: they are in memory."""

    def fingerprint(self) -> dict[str, dict[str, Any]]:
        """Their number, and means as of `SyntheticSet.fingerprint`."""
        return {'synthetic': {'number': len(self), 'means': _means(self._examples)}}


def segmentation_sets(
    files: tuple[Dataset, Dataset] | None, config: SegmentationConfig, map_: Map
) -> tuple[Dataset, Dataset]:
    """The training and the validation set, with as many synthetic slices as a config says.

    Args:
      files: both sets in files; needed unless all training slices are synthetic.
      config: the hyper-parameters.
      map_: draws slices.

    Raises InputError for a network that such slices cannot train.
    """
    if files is not None and not config.num_synthetic:
        return files
    network = config.network
    for name, wanted in (('thoracic_model', False), ('apply_window_function', True)):
        _refuse(network, name, wanted, 'are of the abdomen, in HU')
    side = files[1].image_shape[0] if files is not None else network.network_size or SIDE
    network.refuse_side(side, as_flag('synthetic', True))
    draw = functools.partial(labelled_slice, side=side)
    train_set = SyntheticSet(draw, map_, config, (side, side), _beside(files, config))
    if files is not None:
        return train_set, files[1]
    slices = stacked(map_(draw, range(VAL_SEED, VAL_SEED + VAL_SLICES)))
    series = {f'subject_{i}': np.array([i]) for i in range(VAL_SLICES)}
    return train_set, DrawnSet(slices, series)


def slice_selection_sets(
    files: tuple[Dataset, LevelledSet] | None, config: SliceSelectionConfig, map_: Map
) -> tuple[Dataset, LevelledSet]:
    """As `segmentation_sets`, of slices with offsets."""
    if files is not None and not config.num_synthetic:
        return files
    network = config.network
    _refuse(network, 'reference', REFERENCES[0], 'have the offsets of the middle of vertebrae')
    unknown = [level for level in network.levels if level not in phantom.LEVELS]
    if unknown:
        raise InputError(
            f'{as_flag("levels", network.levels)}: synthetic subjects have the levels '
            f'{listed(phantom.LEVELS)}, not {unknown[0]}; leave it out, or train without '
            'synthetic slices'
        )
    draw = functools.partial(slice_with_offsets, levels=network.levels)
    shape = (DENSENET_SIDE, DENSENET_SIDE)
    train_set = SyntheticSet(draw, map_, config, shape, _beside(files, config))
    if files is not None:
        return train_set, files[1]
    of_trunk = functools.partial(trunk_with_offsets, levels=network.levels)
    trunks = map_(of_trunk, range(VAL_SEED, VAL_SEED + VAL_TRUNKS))
    ends = np.cumsum([len(trunk['image']) for trunk in trunks])
    rows = np.split(np.arange(ends[-1]), ends[:-1])
    examples = {name: np.concatenate([trunk[name] for trunk in trunks]) for name in trunks[0]}
    return train_set, DrawnSet(examples, {f'subject_{i}': of for i, of in enumerate(rows)})


def labelled_slice(seed: int, side: int) -> Example:
    """{'image': `[side, side]` int16 HU, 'mask': `[side, side]` uint8}."""
    hu, labels = phantom.draw_slice(seed, side, phantom.WIDE)
    return {'image': hu, 'mask': labels}


def slice_with_offsets(seed: int, levels: Sequence[str]) -> Example:
    """A slice at any height: {'image': `[256, 256]` uint8, 'offset': `[L]` float32 mm}."""
    hu, offsets = phantom.draw_slice_with_offsets(seed, DENSENET_SIDE, phantom.WIDE)
    of_levels = np.array([offsets[level] for level in levels], np.float32)
    return {'image': selection_square(hu), 'offset': of_levels}


def trunk_with_offsets(seed: int, levels: Sequence[str]) -> Example:
    """All slices of a subject: {'image': `[N, 256, 256]` uint8, 'offset': `[N, L]` float32 mm}."""
    trunk = phantom.draw(seed, DENSENET_SIDE, VAL_SPACING, phantom.WIDE)
    offsets = np.stack([trunk.z - trunk.levels[level] for level in levels], axis=-1)
    images = np.stack([selection_square(hu) for hu in trunk.hu])
    return {'image': images, 'offset': offsets.astype(np.float32)}


def stacked(examples: Sequence[Example]) -> Example:
    """Examples as a batch, each array with a leading axis."""
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def _beside(files: tuple[Dataset, Any] | None, config: TrainerConfig) -> Dataset | None:
    """The training set in files, if it trains as well."""
    return None if files is None or config.synthetic else files[0]


def _means(examples: Example) -> dict[str, list[float]]:
    return {
        name: [round(float(x), 1) for x in array[:SAMPLE].reshape(SAMPLE, -1).mean(-1)]
        for name, array in examples.items()
    }


def _refuse(network: Any, name: str, wanted: Any, what: str) -> None:
    """Raises InputError unless an option of a network is the one that synthetic slices need."""
    value = getattr(network, name)
    if value != wanted:
        raise InputError(
            f'{as_flag(name, value)}: synthetic slices {what}; leave it out, or train without '
            'synthetic slices'
        )
