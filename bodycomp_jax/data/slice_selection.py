"""Slice-selection datasets: CT slices as PNG files and their offsets in CSV files."""

import concurrent.futures
import csv
import hashlib
import math
import os
import re
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bodycomp_jax.config import DENSENET_SIDE, SliceSelectionConfig
from bodycomp_jax.data.png import read_png, resized, write_png
from bodycomp_jax.errors import InputError

LARGE = 1 << 31  # bytes of decoded slices from which a file holds them instead of memory
SERIES_COLUMNS = ('series', 'SeriesInstanceUID')
MAX_OFFSET = 1e4  # mm
MAX_LISTED = 8  # names in a message

# (items, their number, title) -> the same items, with progress shown
Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


class SliceSelectionSet:
    """A `Dataset` of `images/<split>/000000.png ...` and `meta/<split>.csv`; row i is of image i.

    Opening reads the table and lists the pictures; `validate` decodes them, once, to be read.

    Attributes:
      offsets: `[N, L]` float32, mm from each level, positive towards the head.
      series: {name: `[n]` indices of its slices}; a single one if the table names none.
    """

    image_shape = (DENSENET_SIDE, DENSENET_SIDE)

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        split: str,
        levels: tuple[str, ...],
        *,
        cache_dir: str | os.PathLike[str],
        track: Track,
        disjoint_from: 'SliceSelectionSet | None' = None,
    ) -> None:
        """Raises InputError where table and pictures do not match.

        Args:
          data_dir: the folder with `images` and `meta`.
          split: 'train' or 'val'.
          levels: the levels whose offsets are read.
          cache_dir: an existing folder for the temporary file that holds a large set.
          track: shows the progress of `validate`.
          disjoint_from: a set, validated first, that must have no picture in common with this.
        """
        self._levels = levels
        self._cache_dir, self._track, self._disjoint_from = cache_dir, track, disjoint_from
        table = os.path.join(data_dir, 'meta', f'{split}.csv')
        self._folder = os.path.join(data_dir, 'images', split)
        self.offsets, self.series = _read_table(table, levels)
        self._paths = _list_pictures(self._folder, len(self.offsets), table)

    def __len__(self) -> int:
        return len(self.offsets)

    def read(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """{'image': `[B, 256, 256]` uint8 grey values, 'offset': `[B, L]` float32 mm}."""
        return {'image': self._slices[rows], 'offset': self.offsets[rows]}

    def validate(self) -> None:
        """Decodes and resizes all pictures, on all cores.

        Raises InputError for an invalid picture, for one that is also in `disjoint_from`, and
        if there is no space for the decoded slices.
        """
        began = time.perf_counter()
        self._slices = _allocate(len(self), self._cache_dir)
        self._digests: dict[bytes, int] = {}  # of each distinct picture, its first row
        self._sizes = set()
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            try:
                decoded = threads.map(self._decode, range(len(self)))
                for i, (size, digest) in enumerate(self._track(decoded, len(self), self._folder)):
                    self._sizes.add(size)
                    if digest is not None:
                        self._digests.setdefault(digest, i)
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
        self._checksum = zlib.crc32(self._slices.data)
        self._seconds = time.perf_counter() - began
        if self._disjoint_from is not None:
            self._refuse_shared_pictures(self._disjoint_from)

    def describe(self) -> str:
        """Number and sizes of the slices, and the range of the offsets."""
        sizes = ', '.join(f'{H} x {W}' for H, W in sorted(self._sizes)[:MAX_LISTED])
        ranges = ', '.join(
            f'{level} {low:+.0f} to {high:+.0f} mm'
            for level, low, high in zip(
                self._levels, self.offsets.min(0), self.offsets.max(0), strict=True
            )
        )
        return (
            f'{len(self)} slices of {sizes}, resized to {DENSENET_SIDE} x {DENSENET_SIDE}, in '
            f'{len(self.series)} series; offsets from {ranges}; decoded in {self._seconds:.1f} s'
        )

    def fingerprint(self) -> dict[str, dict[str, Any]]:
        """Number and CRC-32 of the resized slices; levels and CRC-32 of the offsets."""
        return {
            'images': {'number': len(self), 'fingerprint': self._checksum},
            'offsets': {'levels': list(self._levels), 'fingerprint': zlib.crc32(self.offsets.data)},
        }

    def _decode(self, i: int) -> tuple[tuple[int, ...], bytes | None]:
        """Stores slice i; returns its original shape and its digest, None if it is uniform."""
        image = read_png(self._paths[i])
        small = resized(image)
        self._slices[i] = small
        uniform = small.min() == small.max()
        return image.shape, None if uniform else hashlib.blake2b(
            small.data, digest_size=16
        ).digest()

    def _refuse_shared_pictures(self, other: 'SliceSelectionSet') -> None:
        shared = self._digests.keys() & other._digests.keys()
        if shared:
            first = min(shared, key=self._digests.__getitem__)
            raise InputError(
                f'{self._paths[self._digests[first]]}: the same picture as '
                f'{other._paths[other._digests[first]]}; {len(shared)} of {len(self)} validation '
                'slices are also training slices; use other slices for validation'
            )


def open_sets(
    data_dir: str | os.PathLike[str],
    config: SliceSelectionConfig,
    cache_dir: str | os.PathLike[str],
    track: Track,
) -> tuple[SliceSelectionSet, SliceSelectionSet]:
    """The training and the validation set in a folder; validate them in this order.

    Args:
      data_dir: the folder with `images` and `meta`.
      config: the hyper-parameters.
      cache_dir, track: see `SliceSelectionSet`.

    Raises InputError where tables and pictures do not match, and for less than a batch of slices.
    """
    if not os.path.isdir(data_dir):
        raise InputError(f'{data_dir}: no such folder; give the folder of images and meta')
    levels = config.network.levels
    train_set = SliceSelectionSet(data_dir, 'train', levels, cache_dir=cache_dir, track=track)
    val_set = SliceSelectionSet(
        data_dir, 'val', levels, cache_dir=cache_dir, track=track, disjoint_from=train_set
    )
    if len(train_set) < config.batch_size:
        raise InputError(
            f'{data_dir}: {len(train_set)} training slices are fewer than one batch of '
            f'{config.batch_size}; use -b {len(train_set)} or less'
        )
    return train_set, val_set


def write_split(
    data_dir: str | os.PathLike[str],
    split: str,
    images: Iterable[np.ndarray],
    offsets: Mapping[str, Sequence[float] | np.ndarray],
    series: Sequence[str] | None = None,
) -> None:
    """Writes a split as `SliceSelectionSet` reads it, slice by slice; the table comes last.

    Args:
      data_dir: an existing folder.
      split: 'train' or 'val'.
      images: `[H, W]` uint8 grey values of each slice.
      offsets: {level: `[N]` mm}, written to 0.1 mm.
      series: `[N]` name of the series of each slice, if there is more than one.

    Raises ValueError if the numbers of images, offsets and series differ.
    """
    pictures, tables = (os.path.join(data_dir, name) for name in ('images', 'meta'))
    os.makedirs(os.path.join(pictures, split), exist_ok=True)
    os.makedirs(tables, exist_ok=True)
    count = 0
    for image in images:
        write_png(os.path.join(pictures, split, f'{count:06d}.png'), image)
        count += 1
    columns = {f'ZOffset_{level}': [f'{mm:.1f}' for mm in of] for level, of in offsets.items()}
    if series is not None:
        columns = {'series': list(series), **columns}
    for name, values in columns.items():
        if len(values) != count:
            raise ValueError(f'{len(values)} values of {name} for {count} slices')
    with open(os.path.join(tables, f'{split}.csv'), 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _read_table(path: str, levels: tuple[str, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(offsets `[N, L]` float32, {series: indices}). Raises InputError."""
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except FileNotFoundError as error:
        raise InputError(f'{path}: no such table; {_contents_beside(path)}') from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f'{path}: cannot be read as CSV ({error}); save it as UTF-8') from error
    if not rows:
        raise InputError(f'{path}: no rows; write one row per picture')
    ragged = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
    if ragged is not None:
        raise InputError(
            f'{path}: row {ragged} has {len(rows[ragged])} values, but the header names '
            f'{len(header)} columns'
        )
    columns = [_column(path, header, level, len(levels)) for level in levels]
    offsets = [[_offset(path, i, header[c], row[c]) for c in columns] for i, row in enumerate(rows)]
    return np.array(offsets, np.float32), _series(header, rows)


def _column(path: str, header: list[str], level: str, num_levels: int) -> int:
    """Position of the column with the offsets of a level."""
    names = [f'ZOffset_{level}', *(['ZOffset'] if num_levels == 1 else [])]
    name = next((name for name in names if name in header), None)
    if name is None:
        raise InputError(
            f'{path}: no column {" or ".join(names)} among {_listed(list(map(repr, header)))}; '
            'name the levels of the table with --levels'
        )
    if header.count(name) > 1:
        raise InputError(f'{path}: {header.count(name)} columns have the name {name}; keep one')
    return header.index(name)


def _offset(path: str, row: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < MAX_OFFSET:
        raise InputError(
            f'{path}: row {row}, column {column}: invalid offset {text!r}: expected a number of '
            'mm; correct it, or remove the row and its picture'
        )
    return value


def _series(header: list[str], rows: list[list[str]]) -> dict[str, np.ndarray]:
    """{name: indices of its rows}."""
    column = next((header.index(name) for name in SERIES_COLUMNS if name in header), None)
    if column is None:
        return {'all slices': np.arange(len(rows))}
    names = np.array([row[column] for row in rows])
    return {str(name): np.flatnonzero(names == name) for name in dict.fromkeys(names)}


def _list_pictures(folder: str, count: int, table: str) -> list[str]:
    """The paths of 000000.png and so on. Raises InputError unless there are exactly `count`."""
    if not os.path.isdir(folder):
        raise InputError(f'{folder}: no such folder; {_contents_beside(folder)}')
    found = {name for name in os.listdir(folder) if re.fullmatch(r'\d+\.png', name)}
    wanted = [f'{i:06d}.png' for i in range(len(found))]
    gap = next((name for name in wanted if name not in found), None)
    if gap is not None:
        raise InputError(
            f'{folder}: {gap} is missing among {len(found)} pictures; number them 000000.png, '
            '000001.png and so on, without gaps'
        )
    if len(found) != count:
        raise InputError(
            f'{folder}: {len(found)} pictures (NNNNNN.png), but {table} has {count} rows; write '
            'row i for picture i'
        )
    return [os.path.join(folder, name) for name in wanted]


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
            f'{cache_dir}: no space for {size / 1e6:,.0f} MB of decoded slices '
            f'({error.strerror}); free some or choose another output folder'
        ) from error


def _contents_beside(path: str) -> str:
    """The contents of the parent folder, for a message."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return f'its folder {folder} does not exist either'
    return f'{folder} contains {_listed(sorted(os.listdir(folder))) or "nothing"}'


def _listed(names: list[str]) -> str:
    return ', '.join(names[:MAX_LISTED]) + ', ...' * (len(names) > MAX_LISTED)
