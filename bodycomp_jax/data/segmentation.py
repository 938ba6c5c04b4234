"""Segmentation datasets: CT slices and their labels in four `.npy` files."""

import collections
import concurrent.futures
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.config import SegmentationConfig
from bodycomp_jax.data.npy import NpyRows, npy_writers
from bodycomp_jax.errors import InputError

CHUNK_BYTES = 1 << 23  # the checksums of older runs depend on it
VALIDATION_THREADS, MAX_CHUNKS = 4, 8  # chunks in memory, whatever the number of cores
MAX_LISTED = 8  # invalid labels named in a message

Result = TypeVar('Result')


class SegmentationSet:
    """A `Dataset` of `<split>_images.npy`, raw HU, and `<split>_masks.npy`, one label per pixel.

    Both are `[N, H, W]` or `[N, H, W, 1]`. Opening reads the headers alone and raises InputError
    where they do not match.
    """

    def __init__(
        self, data_dir: str | os.PathLike[str], split: str, tissues: tuple[str, ...]
    ) -> None:
        self._tissues = tissues
        self.images = NpyRows(os.path.join(data_dir, f'{split}_images.npy'))
        self.masks = NpyRows(os.path.join(data_dir, f'{split}_masks.npy'))
        _check_images(self.images)
        _check_masks(self.masks, self.images)
        _, H, W = self.images.shape[:3]
        self.image_shape = (H, W)
        self._image_dtype = _batch_dtype(self.images.dtype)

    def __len__(self) -> int:
        return len(self.images)

    def read(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """A batch of slices, in the precision in which it goes to the device.

        Integer images become int16, clipped to its range (for padding such as -2**31; the HU
        window clips far inside it). Float images become float16 or float32.

        Returns:
          {'image': `[B, H, W]` HU, 'mask': `[B, H, W]` uint8}.
        """
        shape = (len(rows), *self.image_shape)
        images = self.images.read(rows).reshape(shape)
        if images.dtype.itemsize > 2 and self._image_dtype == np.int16:
            images = images.clip(np.iinfo(np.int16).min, np.iinfo(np.int16).max)
        return {
            'image': images.astype(self._image_dtype, copy=False),
            'mask': self.masks.read(rows).reshape(shape).astype(np.uint8, copy=False),
        }

    def validate(self) -> None:
        """Reads every label, and every pixel that could be NaN or infinite.

        Raises InputError for labels out of range and for pixels that are not finite.
        """
        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(VALIDATION_THREADS) as threads:
            self._pixels, self._checksum = self._read_masks(threads)
            self._bytes_read = self.masks.nbytes
            if self.images.dtype.kind == 'f':
                self._refuse_non_finite(threads)
                self._bytes_read += self.images.nbytes
        self._seconds = time.perf_counter() - began

    def describe(self) -> str:
        """Size, types and the share of each label."""
        H, W = self.image_shape
        names = ('background', *(tissue.replace('_', ' ') for tissue in self._tissues))
        shares = ', '.join(
            f'{name} {share:.1%}'
            for name, share in zip(names, self._pixels / self._pixels.sum(), strict=True)
        )
        copied = ', '.join(file.path for file in (self.images, self.masks) if file.fortran_order)
        note = f'; copied to {tempfile.gettempdir()} in row order: {copied}' if copied else ''
        return (
            f'{len(self)} slices of {H} x {W}, images {self.images.dtype.name}, '
            f'masks {self.masks.dtype.name}: {shares}; '
            f'checked {self._bytes_read / 1e6:,.0f} MB in {self._seconds:.1f} s{note}'
        )

    def fingerprint(self) -> dict[str, dict[str, Any]]:
        """Masks by their whole content ('checksum'), images by a sample.

        Of both it has the shape, the type, the size, and the CRC-32 of 16 rows spread evenly
        over the file ('fingerprint'). A change of other images alone goes unnoticed: integer
        images are never read in full before training.
        """
        return {
            'images': self.images.fingerprint(),
            'masks': {**self.masks.fingerprint(), 'checksum': self._checksum},
        }

    def _read_masks(self, threads: concurrent.futures.Executor) -> tuple[np.ndarray, int]:
        """(pixels of each label `[C]`, the CRC-32 of the CRC-32 of each chunk)."""
        C = 1 + len(self._tissues)

        def read(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
            return *_count_labels(masks, C), zlib.crc32(masks.data)

        chunks = list(_map_chunks(threads, self.masks, read))
        bad_slices = np.concatenate([start + bad_rows for start, (_, bad_rows, _) in chunks])
        if bad_slices.size:
            raise InputError(self._bad_labels(bad_slices, C))
        pixels = np.sum([pixels for _, (pixels, _, _) in chunks], axis=0)
        checksums = np.array([checksum for _, (_, _, checksum) in chunks], '<u4')
        return pixels, zlib.crc32(checksums.data)

    def _refuse_non_finite(self, threads: concurrent.futures.Executor) -> None:
        found = _map_chunks(threads, self.images, _find_non_finite)
        bad_slices = np.concatenate([start + bad for start, bad in found])
        if bad_slices.size:
            raise InputError(self._bad_pixels(bad_slices))

    def _bad_labels(self, bad_slices: np.ndarray, num_classes: int) -> str:
        labels = np.unique(self.masks.read(bad_slices[:1])[0])
        wrong = [int(label) for label in labels if not 0 <= label < num_classes]
        listed = ', '.join(map(str, wrong[:MAX_LISTED])) + ', ...' * (len(wrong) > MAX_LISTED)
        remedy = f'labels must be 0..{num_classes - 1}'
        if num_classes == 3 and 3 in wrong:
            remedy += '; visceral fat (3) needs --nothoracic_model'
        return (
            f'{self.masks.path}: slice {bad_slices[0]} has the labels {listed}, and '
            f'{len(bad_slices)} of {len(self)} slices have labels out of range; {remedy}'
        )

    def _bad_pixels(self, bad_slices: np.ndarray) -> str:
        with np.errstate(over='ignore'):
            image = self.images.read(bad_slices[:1])[0].astype(self._image_dtype)
        return (
            f'{self.images.path}: slice {bad_slices[0]} has {np.isnan(image).sum()} NaN and '
            f'{np.isinf(image).sum()} infinite pixels, and {len(bad_slices)} of {len(self)} slices '
            'have such pixels; replace them, for example by -1024 HU (air)'
        )


def open_sets(
    data_dir: str | os.PathLike[str], config: SegmentationConfig
) -> tuple[SegmentationSet, SegmentationSet]:
    """The training and the validation set in a folder, not yet validated.

    Raises InputError where a header does not fit the network, the batch size or the other set.
    """
    if not os.path.isdir(data_dir):
        raise InputError(f'{data_dir}: no such folder; give the folder of the .npy files')
    network = config.network
    train_set = SegmentationSet(data_dir, 'train', network.tissues)
    val_set = SegmentationSet(data_dir, 'val', network.tissues)
    side, val_side = train_set.image_shape[0], val_set.image_shape[0]
    if val_side != side:
        raise InputError(
            f'{val_set.images.path}: slices of {val_side} x {val_side}, but the training slices '
            f'are {side} x {side}; resample both to the same size'
        )
    if side % network.size_divisor:
        raise InputError(
            f'{train_set.images.path}: slices of {side} x {side} cannot be halved '
            f'{len(network.decompression_channels)} times; use a size that is a multiple of '
            f'{network.size_divisor}, or fewer levels (-C and -M)'
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


def _check_images(images: NpyRows) -> None:
    dtype = images.dtype
    if not ((dtype.kind == 'i' and dtype.itemsize >= 2) or dtype.kind == 'f'):
        raise InputError(
            f'{images.path}: images of type {dtype.name} cannot hold Hounsfield units, which '
            'reach below zero; save them as int16 HU (apply RescaleSlope and RescaleIntercept)'
        )
    _check_shape(images)


def _check_masks(masks: NpyRows, images: NpyRows) -> None:
    if masks.dtype.kind not in 'iu':
        raise InputError(
            f'{masks.path}: masks of type {masks.dtype.name}, expected integer labels; save them '
            'as uint8'
        )
    _check_shape(masks)
    if masks.shape[:3] != images.shape[:3]:
        raise InputError(
            f'{masks.path}: masks of shape {masks.shape} do not match {images.path} of shape '
            f'{images.shape}; save one label per pixel'
        )


def _check_shape(rows: NpyRows) -> None:
    shape = rows.shape
    if not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)):
        raise InputError(
            f'{rows.path}: an array of shape {shape}; expected [slices, side, side] or '
            '[slices, side, side, 1]'
        )
    if 0 in shape:
        raise InputError(f'{rows.path}: an array of shape {shape}; expected at least one slice')
    if ct.slices_last(shape):
        raise InputError(
            f'{rows.path}: an array of shape {shape}: the last axis seems to count the slices; '
            'save numpy.moveaxis(array, 2, 0)'
        )
    if shape[1] != shape[2]:
        raise InputError(
            f'{rows.path}: slices of {shape[1]} x {shape[2]} are not square; pad or crop them'
        )


def _batch_dtype(dtype: np.dtype) -> np.dtype:
    """The type of the images in a batch, for the type of those in the file."""
    if dtype.kind == 'i':
        return np.dtype(np.int16)
    return np.dtype(np.float16 if dtype.itemsize == 2 else np.float32)


def _map_chunks(
    threads: concurrent.futures.Executor, file: NpyRows, function: Callable[[np.ndarray], Result]
) -> Iterator[tuple[int, Result]]:
    """(first row, function(chunk)) for each chunk of a file, with few chunks in memory."""
    jobs: collections.deque[tuple[int, concurrent.futures.Future[Result]]] = collections.deque()
    for start, chunk in file.chunks(CHUNK_BYTES):
        jobs.append((start, threads.submit(function, chunk)))
        if len(jobs) == MAX_CHUNKS:
            first, job = jobs.popleft()
            yield first, job.result()
    for first, job in jobs:
        yield first, job.result()


def _count_labels(masks: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(pixels of each label, if all are in range; rows with labels out of range)."""
    unsigned = masks.view(f'u{masks.itemsize}')  # negative labels become large ones
    bad_rows = np.flatnonzero(unsigned.reshape(len(masks), -1).max(1) >= num_classes)
    # Counting all labels but the first and the last costs less than comparing with each.
    foreground = np.count_nonzero(masks)
    counts = [np.count_nonzero(masks == label) for label in range(1, num_classes - 1)]
    return np.array([masks.size - foreground, *counts, foreground - sum(counts)]), bad_rows


def _find_non_finite(images: np.ndarray) -> np.ndarray:
    """Rows with pixels that are NaN or infinite in the type of a batch."""
    with np.errstate(over='ignore'):
        images = images.astype(_batch_dtype(images.dtype), copy=False)
    return np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(1))
