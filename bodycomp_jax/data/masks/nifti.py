"""Masks in NIfTI files: one file with several labels, or a folder with a file per class."""

import math
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import nibabel
import numpy as np
from nibabel.openers import ImageOpener

from bodycomp_jax.data.masks.labels import BACKGROUND, LabelMap, Names, add_class, whole_numbers
from bodycomp_jax.data.masks.volume import MAX_VOXELS, LabelVolume
from bodycomp_jax.data.scans.nifti import is_nifti_name
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.runtime.files import open_regular_file

MAX_COMPRESSION = 1100  # of gzip
MAX_AFFINE_DIFFERENCE = 1e-3  # between the files of a folder
LABEL_KEY = re.compile(r'<Label\b[^>]*\bKey="(\d{1,9})"[^>]*>\s*(?:<!\[CDATA\[)?([^\]<]+)')
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
EXPORT = 'export the mask again'


def read_nifti(path: str, label_map: LabelMap, names: Names) -> LabelVolume:
    """The labels in a NIfTI file, read plane by plane.

    Args:
      path: of the file.
      label_map: what its values mean.
      names: of its values; those in a table of labels in its header are known.

    Raises InputError for other files, and UnexplainedLabelError.
    """
    file = _NiftiFile(path)
    labels = np.empty(file.shape, np.uint8)
    for plane, values in zip(labels, file.planes(), strict=True):
        plane[:] = label_map.labels(values, {**file.names, **names}, path)
    return file.volume(path, labels)


def read_class_files(folder: str, label_map: LabelMap) -> LabelVolume:
    """The labels in a folder of NIfTI files, each named after the class whose pixels are not 0.

    Files of classes that become background are not read.

    Raises InputError for other files, for files of different grids and where two tissues overlap,
    and UnexplainedLabelError.
    """
    label_of = {}
    for name in sorted(filter(is_nifti_name, os.listdir(folder))):
        path, stem = os.path.join(folder, name), re.sub(r'\.nii(\.gz)?$', '', name, flags=re.I)
        label = label_map.label_of_class((stem,), path)
        if label != BACKGROUND:
            label_of[path] = label
    if not label_of:
        raise InputError(f'{folder}: all its classes are background; name those of tissues')
    files = [_NiftiFile(path) for path in label_of]
    for file in files[1:]:
        files[0].refuse_other_grid(file)
    labels = np.full(files[0].shape, BACKGROUND, np.uint8)
    for plane, *classes in zip(labels, *(file.planes() for file in files), strict=True):
        for file, values in zip(files, classes, strict=True):
            if len(found := np.unique(values[values != 0])) > 1:
                raise InputError(
                    f'{file.path}: has the values {listed(found)}, but a file in a folder of '
                    'classes has only one besides 0; give a file with several labels by itself'
                )
            add_class(plane, values != 0, label_of[file.path], file.path)
    return files[0].volume(folder, labels)


class _NiftiFile:
    """A NIfTI file whose header is read.

    Attributes:
      path: of the file.
      shape: `[k, j, i]`, the last axis of NIfTI first, as the values are stored.
      affine: `[4, 4]`, from (i, j, k) to LPS.
      names: of values, from a table of labels in the header.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        os.close(open_regular_file(path))
        try:
            image: Any = nibabel.load(path)
            self._array, self.affine = image.dataobj, LPS @ image.affine
            shape, self._dtype = image.shape, image.get_data_dtype()
            extensions = [extension.content for extension in image.header.extensions]
        except Exception as error:  # nibabel raises errors of many kinds
            raise InputError(f'{path}: not a readable NIfTI file ({error}); {EXPORT}') from error
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != 3 or min(shape) < 1 or self._dtype.kind not in 'biuf':
            raise InputError(
                f'{path}: {self._dtype} of shape {shape}, expected numbers on three axes; {EXPORT}'
            )
        self.shape = tuple(int(n) for n in shape[::-1])
        self._refuse_impossible_size()
        directions = self.affine[:3, :3]
        if not (np.isfinite(self.affine).all() and abs(np.linalg.det(directions)) > 0):
            raise InputError(f'{path}: its affine matrix is no position; {EXPORT}')
        self.names = _label_table(extensions)

    def planes(self) -> Iterator[np.ndarray]:
        """`[j, i]` integers for each k."""
        shape = self.shape[1:]
        size = math.prod(shape) * self._dtype.itemsize
        try:
            with ImageOpener(self.path) as file:
                file.seek(self._array.offset)
                for k in range(self.shape[0]):
                    stored = file.read(size)
                    if len(stored) < size:
                        raise EOFError(f'plane {k} of {self.shape[0]} ends early')
                    yield self._integers(np.frombuffer(stored, self._dtype).reshape(shape))
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(
                f'{self.path}: truncated or corrupt ({error}); copy it again'
            ) from error

    def refuse_other_grid(self, other: '_NiftiFile') -> None:
        """Raises InputError unless the other file has the same shape and affine."""
        difference = np.abs(self.affine - other.affine).max()
        if self.shape != other.shape or difference > MAX_AFFINE_DIFFERENCE:
            raise InputError(
                f'{other.path}: shape {other.shape[::-1]} and affine (LPS) '
                f'{other.affine[:3].round(3).tolist()}, but {self.path} has {self.shape[::-1]} and '
                f'{self.affine[:3].round(3).tolist()}; make all classes on one grid'
            )

    def volume(self, path: str, labels: np.ndarray) -> LabelVolume:
        """The planes that are closest to axial, from `[k, j, i]` labels."""
        steps = self.affine[:3, 2::-1].T
        lengths = np.linalg.norm(steps, axis=1)
        through = int(np.argmax(np.abs(steps[:, 2]) / lengths))
        axes = [through, *(axis for axis in range(3) if axis != through)]
        labels, (step, row_step, column_step) = labels.transpose(axes), steps[axes]
        normal = np.cross(column_step, row_step)
        gap = float(step @ normal / np.linalg.norm(normal))
        positions = self.affine[:3, 3] + np.arange(len(labels))[:, None] * step
        if gap < 0:
            labels, positions = labels[::-1], positions[::-1]
        return LabelVolume(path, labels, positions, row_step, column_step, abs(gap), complete=True)

    def _integers(self, stored: np.ndarray) -> np.ndarray:
        slope, offset = float(self._array.slope), float(self._array.inter)
        if (slope, offset) != (1, 0):
            with np.errstate(over='ignore', invalid='ignore'):
                stored = stored * slope + offset
        return whole_numbers(stored, self.path)

    def _refuse_impossible_size(self) -> None:
        voxels = math.prod(self.shape)
        size = os.stat(self.path).st_size
        compressed = not self.path.lower().endswith('.nii')
        needed = voxels * self._dtype.itemsize / (MAX_COMPRESSION if compressed else 1)
        if voxels > MAX_VOXELS or needed > size:
            raise InputError(
                f'{self.path}: {size:,} bytes, but its header describes {self._dtype} of shape '
                f'{self.shape[::-1]}; it is truncated or corrupt, copy it again'
            )


def _label_table(extensions: Sequence[bytes]) -> dict[int, tuple[str, ...]]:
    """The names in a table of labels, as TotalSegmentator and Connectome Workbench write it."""
    text = ''.join(content.decode('utf-8', 'replace') for content in extensions)
    return {int(key): (name.strip(),) for key, name in LABEL_KEY.findall(text)}
