"""The segmentation trainer's input: CT slices and their labels in four `.npy` files."""

import collections
import concurrent.futures
import os
import tempfile
import time
from collections.abc import Iterable

import numpy as np

from bodycomp_jax.data.npy import NpyRows, npy_writers
from bodycomp_jax.errors import InputError

CHUNK_BYTES = 1 << 23
CHECK_THREADS, CHECK_CHUNKS = 4, 8  # chunks in memory at a time, on however many cores
MAX_LISTED = 8  # wrong values named in a message


class SegmentationSet:
    """One split: `<split>_images.npy`, raw HU, and `<split>_masks.npy`, a label a pixel.

    Both are `[N, H, W]` or `[N, H, W, 1]`. Opening reads the headers alone and raises InputError
    where they do not fit; `check` reads the whole set.
    """

    def __init__(self, data_dir, split, tissues):
        self._tissues = tissues
        self.images = NpyRows(os.path.join(data_dir, f'{split}_images.npy'))
        self.masks = NpyRows(os.path.join(data_dir, f'{split}_masks.npy'))
        _check_images(self.images)
        _check_masks(self.masks, self.images)
        self.image_shape = self.images.shape[1:3]
        self._shipped_dtype = _shipped_dtype(self.images.dtype)

    def __len__(self):
        return len(self.images)

    def read(self, indices, weights=None):
        """A batch of slices, in the precision in which it is sent to the device.

        Integer images become int16 (values outside its range, such as a padding of -2**31, are
        clipped: the HU window clips far inside it); float images keep their values as float16
        or float32.

        Args:
          indices: `[B]` integers.
          weights: `[B]` floats, 0 for padding; None for all 1.

        Returns:
          {'image': `[B, H, W]` HU, 'mask': `[B, H, W]` uint8, 'weight': `[B]` float32}.
        """
        B = len(indices)
        images = self.images.read(indices).reshape(B, *self.image_shape)
        if images.dtype.itemsize > 2 and self._shipped_dtype == np.int16:
            images = images.clip(*_range_of(np.int16))
        masks = self.masks.read(indices).reshape(B, *self.image_shape)
        return {
            'image': images.astype(self._shipped_dtype, copy=False),
            'mask': masks.astype(np.uint8, copy=False),
            'weight': np.ones(B, np.float32) if weights is None else weights,
        }

    def identity(self):
        """What tells this set from another, as plain JSON values: {'images', 'masks'}."""
        return {'images': self.images.identity(), 'masks': self.masks.identity()}

    def check(self):
        """Reads every label, and every pixel that could be NaN or infinite.

        Returns:
          A line that says what the set is.

        Raises InputError for labels out of range and for pixels that are not finite.
        """
        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(CHECK_THREADS) as threads:
            pixels = self._count_labels(threads)
            bytes_read = self.masks.nbytes
            if self.images.dtype.kind == 'f':
                self._refuse_non_finite(threads)
                bytes_read += self.images.nbytes
        seconds = time.perf_counter() - began
        names = ('background', *(tissue.replace('_', ' ') for tissue in self._tissues))
        shares = ', '.join(
            f'{name} {share:.1%}' for name, share in zip(names, pixels / pixels.sum(), strict=True)
        )
        N, H, W = len(self), *self.image_shape
        copied = [r.path for r in (self.images, self.masks) if r.fortran_order]
        note = f'; copied to {tempfile.gettempdir()} in row order: {", ".join(copied)}'
        return (
            f'{N} slices of {H} x {W}, images {self.images.dtype.name}, '
            f'masks {self.masks.dtype.name}: {shares}; '
            f'checked {bytes_read / 1e6:,.0f} MB in {seconds:.1f} s{note if copied else ""}'
        )

    def _count_labels(self, threads):
        """Pixels of each label, `[C]`."""
        C = 1 + len(self._tissues)
        counted = list(_map_chunks(threads, self.masks, lambda masks: _count_labels(masks, C)))
        bad_slices = np.concatenate([start + bad for start, (_, bad) in counted])
        if bad_slices.size:
            raise InputError(self._bad_labels(bad_slices, C))
        return np.sum([pixels for _, (pixels, _) in counted], axis=0)

    def _refuse_non_finite(self, threads):
        found = _map_chunks(threads, self.images, _find_non_finite)
        bad_slices = np.concatenate([start + bad for start, bad in found])
        if bad_slices.size:
            raise InputError(self._bad_pixels(bad_slices))

    def _bad_labels(self, bad_slices, num_classes):
        values = np.unique(self.masks.read(bad_slices[:1])[0])
        wrong = [int(v) for v in values if not 0 <= v < num_classes]
        listed = ', '.join(map(str, wrong[:MAX_LISTED])) + ', ...' * (len(wrong) > MAX_LISTED)
        remedy = f'labels must be 0..{num_classes - 1}'
        if num_classes == 3 and 3 in wrong:
            remedy += '; visceral fat (3) needs --nothoracic_model'
        return (
            f'{self.masks.path}: slice {bad_slices[0]} has the labels {listed}, and '
            f'{len(bad_slices)} of {len(self)} slices have labels out of range; {remedy}'
        )

    def _bad_pixels(self, bad_slices):
        with np.errstate(over='ignore'):
            image = self.images.read(bad_slices[:1])[0].astype(self._shipped_dtype)
        return (
            f'{self.images.path}: slice {bad_slices[0]} has {np.isnan(image).sum()} NaN and '
            f'{np.isinf(image).sum()} infinite pixels, and {len(bad_slices)} of {len(self)} slices '
            'have such pixels; replace them, for example by -1024 HU (air)'
        )


def open_sets(data_dir, config):
    """The training and the validation set in a folder.

    Raises InputError where a header does not fit the network, the batch size or the other set.
    """
    if not os.path.isdir(data_dir):
        raise InputError(f'{data_dir}: there is no such folder; give the folder of the .npy files')
    train_set = SegmentationSet(data_dir, 'train', config.network.tissues)
    val_set = SegmentationSet(data_dir, 'val', config.network.tissues)
    if train_set.image_shape != val_set.image_shape:
        raise InputError(
            f'{val_set.images.path}: slices of {val_set.image_shape}, but the training slices '
            f'are {train_set.image_shape}; resample both to the same size'
        )
    side = train_set.image_shape[0]
    if side % config.network.size_divisor:
        raise InputError(
            f'{train_set.images.path}: slices of {side} x {side} cannot be halved '
            f'{len(config.network.decompression_channels)} times; use a size that is a multiple of '
            f'{config.network.size_divisor}, or fewer levels (-C and -M)'
        )
    if len(train_set) < config.batch_size:
        raise InputError(
            f'{train_set.images.path}: {len(train_set)} training slices are fewer than one batch '
            f'of {config.batch_size}; use -b {len(train_set)} or less'
        )
    return train_set, val_set


def write_split(
    data_dir: str | os.PathLike[str], split: str, slices: Iterable[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Writes a split as `SegmentationSet` reads it, slice by slice, both files or neither.

    Args:
      data_dir: an existing folder.
      split: 'train' or 'val'.
      slices: (`[H, W]` HU, `[H, W]` labels) of each slice, at least one.
    """
    paths = [os.path.join(data_dir, f'{split}_{kind}.npy') for kind in ('images', 'masks')]
    with npy_writers(*paths) as (images, masks):
        for image, mask in slices:
            images.append(image[..., None])
            masks.append(mask[..., None])


def _check_images(images):
    dtype = images.dtype
    if not ((dtype.kind == 'i' and dtype.itemsize >= 2) or dtype.kind == 'f'):
        raise InputError(
            f'{images.path}: images of type {dtype.name} cannot hold Hounsfield units, which '
            'reach below zero; save them as int16 HU (apply RescaleSlope and RescaleIntercept)'
        )
    _check_shape(images)


def _check_masks(masks, images):
    if masks.dtype.kind not in 'iu':
        raise InputError(
            f'{masks.path}: masks of type {masks.dtype.name} are not labels; save them as uint8'
        )
    _check_shape(masks)
    if masks.shape[:3] != images.shape[:3]:
        raise InputError(
            f'{masks.path}: masks of shape {masks.shape} do not fit {images.path} of shape '
            f'{images.shape}; there must be one label for each pixel'
        )


def _check_shape(rows):
    shape = rows.shape
    if not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)):
        raise InputError(
            f'{rows.path}: an array of shape {shape}; expected [slices, side, side] or '
            '[slices, side, side, 1]'
        )
    if 0 in shape:
        raise InputError(f'{rows.path}: an array of shape {shape} has no slices in it')
    if shape[1] != shape[2]:
        raise InputError(
            f'{rows.path}: slices of {shape[1]} x {shape[2]} are not square; pad or crop them'
        )


def _shipped_dtype(dtype):
    if dtype.kind == 'i':
        return np.dtype(np.int16)
    return np.dtype(np.float16 if dtype.itemsize == 2 else np.float32)


def _range_of(dtype):
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _map_chunks(threads, rows, function):
    """(first row, function(chunk)) for each chunk of a file, with few chunks in memory."""
    jobs = collections.deque()
    for start, chunk in rows.chunks(CHUNK_BYTES):
        jobs.append((start, threads.submit(function, chunk)))
        if len(jobs) == CHECK_CHUNKS:
            first, job = jobs.popleft()
            yield first, job.result()
    for first, job in jobs:
        yield first, job.result()


def _count_labels(masks, num_classes):
    """(pixels of each label, rows with labels out of range)."""
    pixels = np.array([np.count_nonzero(masks == label) for label in range(num_classes)])
    if pixels.sum() == masks.size:
        return pixels, np.empty(0, int)
    flat = masks.reshape(len(masks), -1)
    return pixels, np.flatnonzero((flat.min(1) < 0) | (flat.max(1) >= num_classes))


def _find_non_finite(images):
    """Rows with pixels that are NaN or infinite, in float32 at the latest."""
    with np.errstate(over='ignore'):
        images = images.astype(_shipped_dtype(images.dtype), copy=False)
    return np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(1))
