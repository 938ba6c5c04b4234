"""Segmentation datasets: CT slices and their labels in four `.npy` files."""

import concurrent.futures
import os
import tempfile
import time
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.config import SegmentationConfig
from bodycomp_jax.data import plausibility
from bodycomp_jax.data.dataset import refuse_less_than_a_batch
from bodycomp_jax.data.file_names import TRAINING_SPLITS, images_file, masks_file
from bodycomp_jax.data.npy import npy_writers
from bodycomp_jax.data.plausibility import USE_ANYWAY, VALIDATE_ON_OTHERS
from bodycomp_jax.data.rows import Rows
from bodycomp_jax.data.segmentation_files import open_files, open_fold
from bodycomp_jax.errors import InputError, RunError, listed

CHUNK_BYTES = 1 << 23  # of masks; the checksums of older runs depend on it
VALIDATION_THREADS = 4  # chunks in memory, whatever the number of cores
INT16 = np.iinfo(np.int16)
CHANGED = (
    'The data changed during the run: restore them and repeat the same command, or continue on the '
    'new data with --allow_data_change'
)


class _Chunk(NamedTuple):
    """What is known of consecutive slices once they have been read."""

    pixels: np.ndarray  # of each label
    not_labelled: int  # pixels
    bad_labels: np.ndarray  # rows with labels out of range
    bad_pixels: np.ndarray  # rows with pixels that are not finite
    checksums: dict[str, int]
    digests: np.ndarray  # of each image
    values: plausibility.SliceValues | None  # None if anything is bad


class SegmentationSet:
    """A `Dataset` of images, raw HU, and masks, one label per pixel.

    Both are `[N, H, W]` or `[N, H, W, 1]`. Pixels of the label `ct.NOT_LABELLED` count in no loss
    and no metric.
    """

    def __init__(
        self,
        images: Rows,
        masks: Rows,
        tissues: tuple[str, ...],
        *,
        apply_window: bool = True,
        check_values: bool = True,
        disjoint_from: 'SegmentationSet | None' = None,
    ) -> None:
        """Reads nothing.

        Args:
          images, masks: as of `open_files`, row by row.
          tissues: names of the labels 1, 2, ...
          apply_window: whether the images are HU; otherwise grey values in 0..255.
          check_values: whether `validate` refuses, and `warnings` names, values that are unlikely
            to be right.
          disjoint_from: a set, validated first, that must have no image in common with this.
        """
        self._tissues = tissues
        self._apply_window, self._check_values = apply_window, check_values
        self._disjoint_from = disjoint_from
        self.images, self.masks = images, masks
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
        if images.dtype != self._image_dtype == np.int16:
            images = images.clip(INT16.min, INT16.max)
        return {
            'image': images.astype(self._image_dtype, copy=False),
            'mask': self.masks.read(rows).reshape(shape).astype(np.uint8, copy=False),
        }

    def validate(self) -> None:
        """Reads every label and every pixel.

        Raises InputError for labels out of range, for pixels that are not finite and, if values
        are checked, for values that cannot be right and for images of `disjoint_from`.
        """
        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(VALIDATION_THREADS) as threads:
            chunks = list(threads.map(self._read_chunk, self.masks.spans(CHUNK_BYTES)))
        for name, message in (('bad_labels', self._bad_labels), ('bad_pixels', self._bad_pixels)):
            bad_slices = np.concatenate([getattr(chunk, name) for chunk in chunks])
            if bad_slices.size:
                raise InputError(message(bad_slices))
        self._pixels = np.sum([chunk.pixels for chunk in chunks], axis=0)
        self._not_labelled = sum(chunk.not_labelled for chunk in chunks)
        self._values = plausibility.joined([chunk.values for chunk in chunks if chunk.values])
        self._digests = np.concatenate([chunk.digests for chunk in chunks])
        self._fingerprint = {
            name: {
                **file.fingerprint(),
                'checksum': zlib.crc32(np.array([c.checksums[name] for c in chunks], '<u4').data),
            }
            for name, file in (('images', self.images), ('masks', self.masks))
        }
        if self._check_values:
            self._refuse_impossible_values()
        self._seconds = time.perf_counter() - began

    def describe(self) -> str:
        """Size, types, the share and the median of each label, and the range of the values."""
        H, W = self.image_shape
        names = ('background', *(ct.spaced(tissue) for tissue in self._tissues))
        num_pixels = len(self) * H * W
        shares = ', '.join(
            f'{name} {pixels / num_pixels:.1%}'
            for name, pixels in zip(names, self._pixels, strict=True)
        )
        if self._not_labelled:
            shares += f', not labelled {self._not_labelled / num_pixels:.1%}'
        medians = ', '.join(
            f'{name} {median:.0f}'
            for name, median in zip(names[1:], plausibility.medians(self._values), strict=True)
        )
        selection = f' ({self.images.selection})' if self.images.selection else ''
        files = (*self.images.files, *self.masks.files)
        copied = ', '.join(file.path for file in files if file.fortran_order)
        note = f'; copied to {tempfile.gettempdir()} in row order: {copied}' if copied else ''
        return (
            f'{len(self)} slices{selection} of {H} x {W}, images {self.images.dtype.name}, '
            f'masks {self.masks.dtype.name}: {shares}; '
            f'median {"HU" if self._apply_window else "grey value"} {medians}, '
            f'values {self._values.low.min():.5g} to {self._values.high.max():.5g}; checked '
            f'{(self.images.nbytes + self.masks.nbytes) / 1e6:,.0f} MB in {self._seconds:.1f} s'
            f'{note}'
        )

    def warnings(self) -> list[str]:
        """What is improbable in a validated set."""
        if not self._check_values:
            return []
        missing = [
            f'no pixel is labelled {ct.spaced(tissue)}; its Dice is nan'
            for tissue, pixels in zip(self._tissues, self._pixels[1:], strict=True)
            if not pixels
        ]
        doubts = plausibility.doubts(self._values, self._tissues, self._apply_window)
        return [f'{self.images.path}, with its masks: {doubt}' for doubt in (*missing, *doubts)]

    def fingerprint(self) -> dict[str, dict[str, Any]]:
        """Shape, type, size and checksums of the validated images and masks.

        'checksum' is the CRC-32 of the CRC-32 of each chunk of 8 MiB of masks and of the images
        of the same slices, 'fingerprint' that of 16 rows spread evenly over the file.
        """
        return self._fingerprint

    def refuse_changes(self) -> None:
        """Raises RunError if a file was changed since `validate`; a touched file is read again."""
        touched = [file.touched() for file in (self.images, self.masks)]
        if not any(touched):
            return
        try:
            now = SegmentationSet(
                self.images.reopened(),
                self.masks.reopened(),
                self._tissues,
                apply_window=self._apply_window,
                check_values=False,
            )
            now.validate()
        except (InputError, RunError) as error:
            disk_fails = isinstance(error.__cause__, OSError)
            raise RunError(str(error) if disk_fails else f'{error}. {CHANGED}') from error
        for name, file in (('images', self.images), ('masks', self.masks)):
            if now.fingerprint()[name] != self._fingerprint[name]:
                raise RunError(f'{file.path}: other content than at the start. {CHANGED}')

    def _read_chunk(self, span: tuple[int, int]) -> _Chunk:
        start, stop = span
        shape = (stop - start, *self.image_shape)
        masks = self.masks.read_span(start, stop).reshape(shape)
        images = self.images.read_span(start, stop).reshape(shape)
        checksums = {'images': zlib.crc32(images.data), 'masks': zlib.crc32(masks.data)}
        not_labelled = _remove_unknown(masks)
        pixels, bad_labels = _count_labels(masks, 1 + len(self._tissues))
        pixels[0] -= not_labelled
        bad_pixels = _find_non_finite(images)
        sound = not (bad_labels.size or bad_pixels.size)
        return _Chunk(
            pixels=pixels,
            not_labelled=not_labelled,
            bad_labels=start + bad_labels,
            bad_pixels=start + bad_pixels,
            checksums=checksums,
            digests=np.array([_digest(image) for image in images]) if sound else np.zeros(0),
            values=self._measure(images, masks, span) if sound else None,
        )

    def _measure(
        self, images: np.ndarray, masks: np.ndarray, span: tuple[int, int]
    ) -> plausibility.SliceValues:
        names = [self.images.name(row) for row in range(*span)]
        return plausibility.measure(images, masks, self._tissues, self._apply_window, names)

    def _refuse_impossible_values(self) -> None:
        if not self._pixels[1:].any():
            wanted = ', '.join(f'{i} {name}' for i, name in enumerate(self._tissues, start=1))
            raise InputError(
                f'{self.masks.path}: no pixel has a label; label the tissues ({wanted}). '
                f'{USE_ANYWAY}'
            )
        reason = plausibility.impossible_set(self._values, self._tissues, self._apply_window)
        if reason is None and self._disjoint_from is not None:
            reason = self._shared_images(self._disjoint_from)
        if reason is not None:
            raise InputError(f'{self.images.path}: {reason}. {USE_ANYWAY}')

    def _shared_images(self, other: 'SegmentationSet') -> str | None:
        """What this set and another have in common, slices of a single value aside."""
        digests = {int(d): row for row, d in enumerate(other._digests)}
        pairs = [
            (row, digests[int(digest)])
            for row, digest in enumerate(self._digests)
            if int(digest) in digests and not self._values.uniform[row]
        ]
        for row, of_other in pairs:  # equal digests alone may be chance
            image = self.read(np.array([row]))['image']
            if np.array_equal(image, other.read(np.array([of_other]))['image']):
                return (
                    f'{self.images.name(row)} is also {other.images.name(of_other)} in '
                    f'{other.images.path}, and so are about {len(pairs)} of {len(self)} slices; '
                    f'{VALIDATE_ON_OTHERS}'
                )
        return None

    def _bad_labels(self, bad_slices: np.ndarray) -> str:
        num_classes = 1 + len(self._tissues)
        labels = np.unique(self.masks.read(bad_slices[:1])[0])
        allowed = (*range(num_classes), ct.NOT_LABELLED)
        wrong = [int(label) for label in labels if label not in allowed]
        remedy = f'labels must be 0..{num_classes - 1}, or {ct.NOT_LABELLED} for none'
        if num_classes == 3 and 3 in wrong:
            remedy += '; visceral fat (3) needs a network that is trained with --nothoracic_model'
        return (
            f'{self.masks.path}: {self.masks.name(bad_slices[0])} has the labels {listed(wrong)}, '
            f'and {len(bad_slices)} of {len(self)} slices have labels out of range; {remedy}'
        )

    def _bad_pixels(self, bad_slices: np.ndarray) -> str:
        with np.errstate(over='ignore'):
            image = self.images.read(bad_slices[:1])[0].astype(self._image_dtype)
        name = self.images.name(bad_slices[0])
        return (
            f'{self.images.path}: {name} has {np.isnan(image).sum()} NaN '
            f'and {np.isinf(image).sum()} infinite pixels, and {len(bad_slices)} of {len(self)} '
            'slices have such pixels; replace them, for example by -1024 HU (air)'
        )


def open_sets(
    data_dir: str | os.PathLike[str], config: SegmentationConfig, *, check_values: bool = True
) -> tuple[SegmentationSet, SegmentationSet]:
    """The training and the validation set in a folder; validate them in this order.

    Args:
      data_dir: the folder with the files.
      config: the hyper-parameters.
      check_values: see `SegmentationSet`.

    Raises InputError where a header does not fit the network, the batch size or the other set, and
    where `slices.csv` does not give the fold.
    """
    if not os.path.isdir(data_dir):
        raise InputError(f'{data_dir}: no such folder; give the folder of the .npy files')
    network = config.network
    window = network.apply_window_function
    train, val = (
        [open_files(data_dir, split, apply_window=window) for split in TRAINING_SPLITS]
        if config.validating_fold is None
        else open_fold(data_dir, *config.validating_fold, apply_window=window)
    )
    options: dict[str, Any] = {'apply_window': window, 'check_values': check_values}
    train_set = SegmentationSet(*train, network.tissues, **options)
    trained_on = None if config.synthetic else train_set
    val_set = SegmentationSet(*val, network.tissues, **options, disjoint_from=trained_on)
    side, val_side = train_set.image_shape[0], val_set.image_shape[0]
    if val_side != side:
        raise InputError(
            f'{val_set.images.path}: slices of {val_side} x {val_side}, but the training slices '
            f'are {side} x {side}; resample both to the same size'
        )
    network.refuse_side(side, train_set.images.path)
    refuse_less_than_a_batch(train_set.images.path, len(train_set), config)
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
    files = images_file(data_dir, split), masks_file(data_dir, split)
    with npy_writers(*files) as (images, masks):
        for image, mask in slices:
            images.append(image[..., None])
            masks.append(mask[..., None])


def _batch_dtype(dtype: np.dtype) -> np.dtype:
    """The type of the images in a batch, for the type of those in the file."""
    if dtype.kind in 'iu':
        return np.dtype(np.int16)
    return np.dtype(np.float16 if dtype.itemsize == 2 else np.float32)


def _digest(image: np.ndarray) -> int:
    """The same for a slice in every type that holds its values."""
    if image.dtype != np.int16:
        image = np.rint(image.clip(INT16.min, INT16.max)).astype(np.int16)
    return zlib.crc32(image.data)


def _remove_unknown(masks: np.ndarray) -> int:
    """Makes background of what is not labelled, in place; returns the number of such pixels."""
    if masks.max() < ct.NOT_LABELLED:  # costs less than comparing each pixel
        return 0
    is_unknown = masks == ct.NOT_LABELLED
    masks[is_unknown] = 0
    return int(np.count_nonzero(is_unknown))


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
