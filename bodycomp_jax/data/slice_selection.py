"""The slice-selection trainer's input: CT slices as PNG files, and their offsets in CSV files."""

import concurrent.futures
import csv
import hashlib
import math
import os
import re
import tempfile
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bodycomp_jax.data.png import SIDE, read_png, resized, write_png
from bodycomp_jax.errors import InputError

LARGE = 1 << 31  # bytes of decoded slices from which they are kept in a file, not in memory
SERIES_COLUMNS = ('series', 'SeriesInstanceUID')
MAX_OFFSET = 1e4  # mm
MAX_LISTED = 8  # names in a message


class SliceSelectionSet:
    """One split: `images/<split>/000000.png ...` and `meta/<split>.csv`, whose row i is of image i.

    Opening reads the table and lists the pictures; `decode` reads these, once.

    Attributes:
      offsets: `[N, L]` float32, mm from each level, positive towards the head.
      series: {name: `[n]` indices of its slices}; one of all slices where the table names none.
      image_shape: of a slice as the network sees it.
    """

    image_shape = (SIDE, SIDE)

    def __init__(self, data_dir, split, levels):
        """Raises InputError where table and pictures do not fit together."""
        self._levels = levels
        self._table = os.path.join(data_dir, 'meta', f'{split}.csv')
        self._folder = os.path.join(data_dir, 'images', split)
        self.offsets, self.series = _read_table(self._table, levels)
        self._paths = _list_pictures(self._folder, len(self.offsets), self._table)

    def __len__(self):
        return len(self.offsets)

    def decode(self, cache_dir, track):
        """Decodes and resizes all pictures, on all cores.

        Args:
          cache_dir: an existing folder for the temporary file that holds a large set.
          track: iterable, number of its items, title -> the same iterable, with its progress shown.

        Raises InputError naming the picture that is not one, or that there is no room.
        """
        began = time.perf_counter()
        self._slices = _room_for(len(self), cache_dir)
        self.digests, self._shapes = {}, set()
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            try:
                decoded = threads.map(self._decode, range(len(self)))
                for i, (shape, digest) in enumerate(track(decoded, len(self), self._folder)):
                    self._shapes.add(shape)
                    self.digests.setdefault(digest, i)
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
        self.digests.pop(None, None)
        self._fingerprint = _crc(self._slices)
        self._seconds = time.perf_counter() - began

    def read(self, indices, weights=None):
        """A batch of slices.

        Args:
          indices: `[B]` integers.
          weights: `[B]` floats, 0 for padding; None for all 1.

        Returns:
          {'image': `[B, 256, 256]` uint8 grey values, 'offset': `[B, L]` float32 mm, 'index': `[B]`
          int32, where in the set they are, 'weight': `[B]` float32}.
        """
        return {
            'image': self._slices[indices],
            'offset': self.offsets[indices],
            'index': np.asarray(indices, np.int32),
            'weight': np.ones(len(indices), np.float32) if weights is None else weights,
        }

    def identity(self):
        """What tells this set from another, as plain JSON values: {'images', 'offsets'}."""
        return {
            'images': {'number': len(self), 'fingerprint': self._fingerprint},
            'offsets': {'levels': list(self._levels), 'fingerprint': _crc(self.offsets)},
        }

    def check(self):
        """A line that says what the set is."""
        sizes = ', '.join(f'{H} x {W}' for H, W in sorted(self._shapes)[:MAX_LISTED])
        ranges = ', '.join(
            f'{level} {low:+.0f} to {high:+.0f} mm'
            for level, low, high in zip(
                self._levels, self.offsets.min(0), self.offsets.max(0), strict=True
            )
        )
        return (
            f'{len(self)} slices of {sizes}, seen as {SIDE} x {SIDE}, in {len(self.series)} '
            f'series; from {ranges}; decoded in {self._seconds:.1f} s'
        )

    def path(self, index):
        """The file of a slice."""
        return self._paths[index]

    def _decode(self, i):
        """Keeps slice i; returns its shape and digest, None for a slice of one grey value."""
        image = read_png(self._paths[i])
        small = resized(image)
        self._slices[i] = small
        plain = small.min() == small.max()
        return image.shape, None if plain else hashlib.blake2b(small, digest_size=16).digest()


def open_sets(data_dir, config, cache_dir, track):
    """The decoded training and validation set in a folder.

    Args:
      data_dir: the folder with `images` and `meta`.
      config: a `SliceSelectionConfig`.
      cache_dir, track: see `SliceSelectionSet.decode`.

    Raises InputError for whatever is wrong with them, before anything is written.
    """
    if not os.path.isdir(data_dir):
        raise InputError(f'{data_dir}: there is no such folder; give the folder of images and meta')
    train_set, val_set = (
        SliceSelectionSet(data_dir, s, config.network.levels) for s in ('train', 'val')
    )
    if len(train_set) < config.batch_size:
        raise InputError(
            f'{data_dir}: {len(train_set)} training slices are fewer than one batch of '
            f'{config.batch_size}; use -b {len(train_set)} or less'
        )
    for dataset in (train_set, val_set):
        dataset.decode(cache_dir, track)
    shared = train_set.digests.keys() & val_set.digests.keys()
    if shared:
        one = min(shared, key=val_set.digests.get)
        raise InputError(
            f'{val_set.path(val_set.digests[one])}: the same picture as '
            f'{train_set.path(train_set.digests[one])}, and so are {len(shared)} of the '
            f'{len(val_set)} validation slices; validate on slices that are not trained on'
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
      offsets: {level: `[N]` mm}.
      series: `[N]` name of the series of each slice, if there is more than one.
    """
    pictures, tables = (os.path.join(data_dir, name) for name in ('images', 'meta'))
    os.makedirs(os.path.join(pictures, split), exist_ok=True)
    os.makedirs(tables, exist_ok=True)
    for i, image in enumerate(images):
        write_png(os.path.join(pictures, split, f'{i:06d}.png'), image)
    columns = {f'ZOffset_{level}': [f'{mm:.1f}' for mm in of] for level, of in offsets.items()}
    if series is not None:
        columns = {'series': list(series), **columns}
    with open(os.path.join(tables, f'{split}.csv'), 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _read_table(path, levels):
    """(offsets `[N, L]` float32, {series: indices}). Raises InputError."""
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except FileNotFoundError as error:
        raise InputError(f'{path}: there is no such table{_beside(path)}') from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f'{path}: cannot be read as CSV ({error}); save it as UTF-8') from error
    if not rows:
        raise InputError(f'{path}: has no rows; there must be one for each picture')
    ragged = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
    if ragged is not None:
        raise InputError(
            f'{path}: row {ragged} has {len(rows[ragged])} values, but the header names '
            f'{len(header)} columns'
        )
    columns = [_column(path, header, level, len(levels)) for level in levels]
    offsets = [[_offset(path, i, header[c], row[c]) for c in columns] for i, row in enumerate(rows)]
    return np.array(offsets, np.float32), _series(header, rows)


def _column(path, header, level, num_levels):
    """Where the offsets of a level are."""
    names = [f'ZOffset_{level}', *(['ZOffset'] if num_levels == 1 else [])]
    name = next((name for name in names if name in header), None)
    if name is None:
        raise InputError(
            f'{path}: there is no column {" or ".join(names)}, but '
            f'{_listed([repr(name) for name in header])}; name the levels that are there with '
            '--levels'
        )
    if header.count(name) > 1:
        raise InputError(f'{path}: the column {name} is there {header.count(name)} times')
    return header.index(name)


def _offset(path, row, column, text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < MAX_OFFSET:
        raise InputError(
            f'{path}: row {row}, column {column}: {text!r} is no distance in mm; correct it, or '
            'leave out that row and its picture'
        )
    return value


def _series(header, rows):
    """{name: indices of its rows}."""
    column = next((header.index(name) for name in SERIES_COLUMNS if name in header), None)
    if column is None:
        return {'all slices': np.arange(len(rows))}
    names = np.array([row[column] for row in rows])
    return {str(name): np.flatnonzero(names == name) for name in dict.fromkeys(names)}


def _list_pictures(folder, count, table):
    """The paths of 000000.png and so on. Raises InputError where one is missing or too many."""
    if not os.path.isdir(folder):
        raise InputError(f'{folder}: there is no such folder{_beside(folder)}')
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
            f'{folder}: {len(found)} pictures (NNNNNN.png), but {table} has {count} rows; row i '
            'must belong to picture i'
        )
    return [os.path.join(folder, name) for name in wanted]


def _room_for(count, cache_dir):
    """An array for so many slices: in memory, or if large in a file that has no name."""
    shape = (count, SIDE, SIDE)
    size = math.prod(shape)
    if size < LARGE:
        return np.empty(shape, np.uint8)
    try:
        with tempfile.TemporaryFile(dir=cache_dir) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.uint8, 'r+', shape=shape)
    except OSError as error:
        raise InputError(
            f'{cache_dir}: no room for {size / 1e6:,.0f} MB of decoded slices '
            f'({error.strerror}); make room or choose another output folder'
        ) from error


def _crc(array):
    crc = 0
    for row in array:
        crc = zlib.crc32(np.ascontiguousarray(row), crc)
    return crc


def _beside(path):
    """What there is instead, for a message."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return f', nor its folder {folder}'
    return f'; in {folder} there is {_listed(sorted(os.listdir(folder))) or "nothing"}'


def _listed(names):
    return ', '.join(names[:MAX_LISTED]) + ', ...' * (len(names) > MAX_LISTED)
