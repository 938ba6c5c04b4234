"""Slice-selection datasets: CT slices as PNG files and their offsets in CSV files."""

import concurrent.futures
import hashlib
import math
import os
import tempfile
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bodycomp_jax import vertebrae
from bodycomp_jax.config import DENSENET_SIDE, SliceSelectionConfig
from bodycomp_jax.data.dataset import Track, refuse_less_than_a_batch
from bodycomp_jax.data.file_names import (
    TRAINING_SPLITS,
    offset_column,
    offsets_table,
    pictures_folder,
)
from bodycomp_jax.data.offset_table import doubtful_offsets, refuse_impossible_offsets
from bodycomp_jax.data.plausibility import USE_ANYWAY, VALIDATE_ON_OTHERS
from bodycomp_jax.data.png import read_png, write_png
from bodycomp_jax.data.prepared import refuse_other_reference
from bodycomp_jax.data.slice_selection_files import (
    Pictures,
    list_fold,
    list_split,
    pictures_in,
)
from bodycomp_jax.data.squares import at_selection_size
from bodycomp_jax.data.table import write_table
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.runtime.files import explained

LARGE = 1 << 31  # bytes of decoded slices from which a file holds them instead of memory
MAX_GREY = 255
MIN_BRIGHTEST = 8  # grey value that any picture of a body exceeds
MIN_WHITE = 0.1  # share of air in pictures that are inverted, and not cropped to the body


class SliceSelectionSet:
    """A `Dataset` of pictures and offsets; `validate` decodes the pictures, once, to be read.

    Attributes:
      offsets: `[N, L]` float32, mm from each level, positive towards the head.
      series: {name: `[n]` indices of its slices}; a single one if the table names none.
    """

    image_shape = (DENSENET_SIDE, DENSENET_SIDE)

    def __init__(
        self,
        pictures: Pictures,
        *,
        is_training: bool,
        cache_dir: str | os.PathLike[str],
        track: Track,
        disjoint_from: 'SliceSelectionSet | None' = None,
        near: float = math.inf,
        check_values: bool = True,
    ) -> None:
        """Reads nothing.

        Args:
          pictures: as of `list_split`.
          is_training: whether they must show both sides of each level.
          cache_dir: an existing folder for the temporary file that holds a large set.
          track: shows the progress of `validate`.
          disjoint_from: a set, validated first, that must have no picture in common with this.
          near: mm from a level within which the errors of offsets are measured.
          check_values: whether values that cannot be right are refused, and `warnings` names
            improbable ones.
        """
        self._is_training, self._near, self._check_values = is_training, near, check_values
        self._cache_dir, self._track, self._disjoint_from = cache_dir, track, disjoint_from
        self._folder, self._paths, self._table, self._selection = pictures
        self._levels, self.offsets = self._table.levels, self._table.offsets
        self.series = self._table.series

    def __len__(self) -> int:
        return len(self.offsets)

    def read(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """{'image': `[B, 256, 256]` uint8 grey values, 'offset': `[B, L]` float32 mm}."""
        return {'image': self._slices[rows], 'offset': self.offsets[rows]}

    def validate(self) -> None:
        """Decodes and resizes all pictures, on all cores.

        Raises InputError for an invalid picture, if there is no space for the decoded slices and,
        if values are checked, for offsets and grey values that cannot be right and for pictures
        of `disjoint_from`.
        """
        if self._check_values:
            refuse_impossible_offsets(self._table, self._is_training)
        began = time.perf_counter()
        self._slices = _allocate(len(self), self._cache_dir)
        self._digests: dict[bytes, int] = {}  # of each distinct picture, its first row
        self._sizes = set()
        self._uniform = []
        self._grey = np.zeros(MAX_GREY + 1, int)  # pixels of each grey value
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            try:
                decoded = threads.map(self._decode, range(len(self)))
                tracked = self._track(decoded, len(self), self._folder)
                for i, (size, grey, digest) in enumerate(tracked):
                    self._sizes.add(size)
                    self._grey += grey
                    if digest is None:
                        self._uniform.append(i)
                    else:
                        self._digests.setdefault(digest, i)
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
        self._checksum = zlib.crc32(self._slices.data)
        self._seconds = time.perf_counter() - began
        if self._check_values:
            self._refuse_impossible_pictures()

    def describe(self) -> str:
        """Number and sizes of the slices, and the range of the offsets."""
        darkest, brightest = np.flatnonzero(self._grey)[[0, -1]]
        sizes = listed(f'{H} x {W}' for H, W in sorted(self._sizes))
        ranges = ', '.join(
            f'{level} {low:+z.0f} to {high:+z.0f} mm'
            for level, low, high in zip(
                self._levels, self.offsets.min(0), self.offsets.max(0), strict=True
            )
        )
        selection = f' ({self._selection})' if self._selection else ''
        return (
            f'{len(self)} slices{selection} of {sizes}, resized to {DENSENET_SIDE} x '
            f'{DENSENET_SIDE}, in {len(self.series)} series; grey values {darkest} to {brightest}; '
            f'offsets from {ranges}; decoded in {self._seconds:.1f} s'
        )

    def warnings(self) -> list[str]:
        """What is improbable in a validated set."""
        if not self._check_values:
            return []
        found = doubtful_offsets(self._table, self._near)
        if self._uniform:
            found.append(
                f'{self._paths[self._uniform[0]]}: a single grey value, as in {len(self._uniform)} '
                f'of {len(self)} slices; leave them out'
            )
        if self._grey[MAX_GREY] > max(self._grey[0], MIN_WHITE * self._grey.sum()):
            found.append(
                f'{self._folder}: more pixels are white than black; air must be 0 and bone '
                f'{MAX_GREY} (window 40/400)'
            )
        shared = self._shared_series()
        if shared:
            found.append(
                f'{self._table.path}: {len(shared)} series, such as {shared[0]!r}, are training '
                'series as well; validate on other patients'
            )
        return found

    def refuse_changes(self) -> None:
        """Does nothing: the pictures and offsets have been read."""

    def fingerprint(self) -> dict[str, dict[str, Any]]:
        """Number and CRC-32 of the resized slices; levels and CRC-32 of the offsets."""
        return {
            'images': {'number': len(self), 'fingerprint': self._checksum},
            'offsets': {'levels': list(self._levels), 'fingerprint': zlib.crc32(self.offsets.data)},
        }

    def _decode(self, i: int) -> tuple[tuple[int, ...], np.ndarray, bytes | None]:
        """Stores slice i; returns its shape, its pixels of each grey value, and its digest.

        The digest is None if the slice is uniform.
        """
        image = read_png(self._paths[i])
        small = at_selection_size(image)
        self._slices[i] = small
        grey = np.bincount(image.ravel(), minlength=MAX_GREY + 1)
        uniform = small.min() == small.max() or np.count_nonzero(grey) == 1
        digest = None if uniform else hashlib.blake2b(small.data, digest_size=16).digest()
        return image.shape, grey, digest

    def _refuse_impossible_pictures(self) -> None:
        fault = None
        if len(self._uniform) == len(self):
            fault = 'each picture has a single grey value'
        elif not self._grey[MIN_BRIGHTEST:].any():
            fault = f'no pixel is brighter than {self._grey.nonzero()[0][-1]}'
        if fault is not None:
            raise InputError(
                f'{self._folder}: {fault}; map HU with the window 40/400 to 0..{MAX_GREY}. '
                f'{USE_ANYWAY}'
            )
        if self._disjoint_from is not None:
            self._refuse_shared_pictures(self._disjoint_from)

    def _shared_series(self) -> list[str]:
        """Names of series that are also in `disjoint_from`."""
        other = self._disjoint_from
        if other is None or not (self._table.names_series and other._table.names_series):
            return []
        return [name for name in self.series if name in other.series]

    def _refuse_shared_pictures(self, other: 'SliceSelectionSet') -> None:
        shared = self._digests.keys() & other._digests.keys()
        if shared:
            first = min(shared, key=self._digests.__getitem__)
            raise InputError(
                f'{self._paths[self._digests[first]]}: the same picture as '
                f'{other._paths[other._digests[first]]}; {len(shared)} of {len(self)} validation '
                f'slices are also training slices; {VALIDATE_ON_OTHERS}. {USE_ANYWAY}'
            )


def open_sets(
    data_dir: str | os.PathLike[str],
    config: SliceSelectionConfig,
    cache_dir: str | os.PathLike[str],
    track: Track,
    *,
    check_values: bool = True,
) -> tuple[SliceSelectionSet, SliceSelectionSet]:
    """The training and the validation set in a folder; validate them in this order.

    Args:
      data_dir: the folder with `images` and `meta`.
      config: the hyper-parameters.
      cache_dir, track, check_values: see `SliceSelectionSet`.

    Raises InputError where tables and pictures do not match, for less than a batch of slices, and
    for offsets from another point of the vertebra than those of the network.
    """
    if not os.path.isdir(data_dir):
        raise InputError(f'{data_dir}: no such folder; give the folder of images and meta')
    refuse_other_reference(data_dir, config.network.reference)
    options: dict[str, Any] = {
        'cache_dir': cache_dir,
        'track': track,
        'near': vertebrae.SIGMOID_RANGE * config.network.threshold,
        'check_values': check_values,
    }
    levels = config.network.levels
    train, val = (
        [
            list_split(data_dir, split, levels, check_values=check_values)
            for split in TRAINING_SPLITS
        ]
        if config.validating_fold is None
        else list_fold(data_dir, *config.validating_fold, levels, check_values=check_values)
    )
    train_set = SliceSelectionSet(train, is_training=True, **options)
    trained_on = None if config.synthetic else train_set
    val_set = SliceSelectionSet(val, is_training=False, **options, disjoint_from=trained_on)
    refuse_less_than_a_batch(data_dir, len(train_set), config)
    return train_set, val_set


def write_split(
    data_dir: str | os.PathLike[str],
    split: str,
    images: Iterable[np.ndarray],
    offsets: Mapping[str, Sequence[float] | np.ndarray],
    series: Sequence[str] | None = None,
) -> None:
    """Writes a split as `SliceSelectionSet` reads it, slice by slice; the table comes last.

    Pictures of a larger split that was there are removed.

    Args:
      data_dir: an existing folder.
      split: 'train' or 'val'.
      images: `[H, W]` uint8 grey values of each slice.
      offsets: {level: `[N]` mm}, written to 0.1 mm.
      series: `[N]` name of the series of each slice, if there is more than one.

    Raises ValueError if the numbers of images, offsets and series differ.
    """
    table = {offset_column(level): [f'{mm:.1f}' for mm in of] for level, of in offsets.items()}
    if series is not None:
        table = {'series': list(series), **table}
    write_split_table(data_dir, split, images, table)


def write_split_table(
    data_dir: str | os.PathLike[str],
    split: str,
    images: Iterable[np.ndarray],
    table: Mapping[str, Sequence[str]],
) -> None:
    """Writes a split as `write_split` does, with any columns.

    Args:
      data_dir, split, images: as of `write_split`.
      table: {column: `[N]` values}, among them `ZOffset_<level>`.

    Raises ValueError if the numbers of images and values differ.
    """
    pictures, path = pictures_folder(data_dir, split), offsets_table(data_dir, split)
    os.makedirs(pictures, exist_ok=True)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    count = 0
    for image in images:
        write_png(os.path.join(pictures, f'{count:06d}.png'), image)
        count += 1
    for name, values in table.items():
        if len(values) != count:
            raise ValueError(f'{len(values)} values of {name} for {count} slices')
    for name in pictures_in(pictures):
        if int(name.removesuffix('.png')) >= count:
            os.remove(os.path.join(pictures, name))
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    write_table(path, rows, list(table))


def _allocate(count: int, cache_dir: str | os.PathLike[str]) -> np.ndarray:
    """An array for so many slices: in memory or, if large, in an unlinked file."""
    shape = (count, DENSENET_SIDE, DENSENET_SIDE)
    size = math.prod(shape)
    if size < LARGE:
        return np.empty(shape, np.uint8)
    try:
        with tempfile.TemporaryFile(dir=cache_dir) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.uint8, 'r+', shape=shape)
    except OSError as error:
        raise InputError(
            f'{cache_dir}: no file for {size / 1e6:,.0f} MB of decoded slices '
            f'({explained(error, "")}), or choose another output folder'
        ) from error
