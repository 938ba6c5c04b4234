"""Slices in NIfTI files, of images and of masks."""

import functools
import gzip
import hashlib
import io
import math
import os
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

import numpy as np
from nibabel.arrayproxy import ArrayProxy

from bodycomp_jax.data.scans.grid import (
    Grid,
    Vector,
    refuse_invalid,
    to_patient_orientation,
)
from bodycomp_jax.data.scans.hu import FAT, looks_like_hu, to_hu
from bodycomp_jax.data.scans.metadata import COLUMNS
from bodycomp_jax.data.scans.nifti_header import HEADER_BYTES, HEADERS, Layout, read_layout
from bodycomp_jax.data.scans.series import Series, Slice
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import explained, open_regular_file

GZIP = b'\x1f\x8b'
MAX_INFLATION = 1032  # of gzip
CHUNK_BYTES = 1 << 22
MAX_EXTENSION_BYTES = 1 << 20
MAX_OBLIQUE = 5.0  # degrees


def is_nifti_name(path: str) -> bool:
    """Whether a file is named like a NIfTI file."""
    return path.lower().endswith(('.nii', '.nii.gz'))


def open_series(path: str) -> Series:
    """The slices of an image. Raises InputError unless its values are HU."""
    volume = NiftiVolume(path)
    lowest, highest = volume.range()
    if not looks_like_hu(lowest, highest):
        raise InputError(
            f'values from {lowest:g} to {highest:g} do not look like HU, which begin below '
            f'{FAT} in fat and air; a mask, or an image that was rescaled'
        )
    return Series(
        slices=volume.slices,
        uid='',
        name=volume.name(),
        _read_stored=lambda of: to_hu(volume.stored(of), of.slope, of.intercept),
        _read_metadata=lambda: dict.fromkeys(COLUMNS, ''),
    )


class NiftiVolume:
    """A three-dimensional image or mask, read slice by slice.

    Attributes:
      slices: axial, in patient orientation, from the feet to the head.
    """

    def __init__(self, path: str) -> None:
        """Reads the header. Raises InputError for other files."""
        self._path = path
        self._copying = threading.Lock()
        with open(open_regular_file(path), 'rb') as file:
            stream = _inflated(file)
            size = os.fstat(file.fileno()).st_size
            layout = read_layout(_start(stream))
        self._shape, self._dtype, self._start = layout.shape, layout.dtype, layout.start
        self._end = self._start + math.prod(self._shape) * self._dtype.itemsize
        if self._end > size * (1 if stream is file else MAX_INFLATION):
            raise InputError(_truncated(size, self._end))
        self._axis, self.slices = _slices(path, layout)

    def stored(self, of: Slice) -> np.ndarray:
        """The numbers in the file, `[rows, columns]`, not yet in patient orientation.

        Raises InputError if the file cannot be read.
        """
        index: list[Any] = [slice(None)] * 3
        index[self._axis] = of.frame
        voxels = self._voxels
        try:
            return np.asarray(voxels[tuple(index)])
        except (OSError, ValueError) as error:
            raise InputError(f'cannot be read ({error}); copy it again') from error

    def range(self) -> tuple[float, float]:
        """The lowest and the highest value, or of a first part that can be CT.

        Raises InputError if the file cannot be read.
        """
        lowest, highest = math.inf, -math.inf
        of = self.slices[0]
        with open(open_regular_file(self._path), 'rb') as file:
            for chunk in _chunks(_inflated(file), self._start, self._end):
                stored = np.frombuffer(chunk, self._dtype)
                ends = (np.fmin.reduce(stored), np.fmax.reduce(stored))
                values = [float(end) * of.slope + of.intercept for end in ends]
                lowest, highest = min(lowest, *values), max(highest, *values)
                if looks_like_hu(lowest, highest):
                    break
        return lowest, highest

    def name(self) -> str:
        """A name from the contents of the file; the same wherever it lies."""
        digest = hashlib.sha256()
        with open(open_regular_file(self._path), 'rb') as file:
            digest.update(file.read(CHUNK_BYTES))
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - CHUNK_BYTES))
            digest.update(file.read(CHUNK_BYTES))
        digest.update(str(size).encode())
        return 'nifti-' + digest.hexdigest()[:16]

    def extensions(self) -> bytes:
        """What the file has between header and voxels, such as a table of labels.

        Raises InputError if the file cannot be read.
        """
        end = min(self._start, MAX_EXTENSION_BYTES)
        with open(open_regular_file(self._path), 'rb') as file:
            return b''.join(_chunks(_inflated(file), min(HEADERS), end))

    @property
    def _voxels(self) -> ArrayProxy:
        with self._copying:
            return self._opened_voxels

    @functools.cached_property
    def _opened_voxels(self) -> ArrayProxy:
        """The voxels in the file, or in an unlinked copy of a compressed one.

        A slice of a compressed file could be read only by inflating all slices before it.
        """
        file: IO[bytes] = os.fdopen(open_regular_file(self._path), 'rb')
        stream = _inflated(file)
        if stream is not file:
            with file:
                file = self._copy(stream)
        weakref.finalize(self, file.close)
        return ArrayProxy(file, (self._shape, self._dtype, self._start))

    def _copy(self, stream: IO[bytes]) -> IO[bytes]:
        try:
            with tempfile.TemporaryFile() as copy:
                for chunk in _chunks(stream, 0, self._end):
                    copy.write(chunk)
                copy.flush()
                return os.fdopen(os.dup(copy.fileno()), 'rb')
        except OSError as error:
            raise InputError(
                f'needs a copy of {self._end / 1e6:,.0f} MB in the temporary folder '
                f'{tempfile.gettempdir()}, which failed ({explained(error, "")}); set TMPDIR to a '
                'folder with more space, or unpack the file'
            ) from error


def _inflated(file: IO[bytes]) -> IO[bytes]:
    """The file itself, or a stream of what it holds compressed."""
    file.seek(0)
    is_gzip = file.read(len(GZIP)) == GZIP
    file.seek(0)
    return cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_gzip else file


def _chunks(stream: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` to `end` in parts. Raises InputError if the file has fewer."""
    try:
        stream.seek(start)
        for position in range(start, end, CHUNK_BYTES):
            wanted = min(CHUNK_BYTES, end - position)
            chunk = stream.read(wanted)
            if len(chunk) < wanted:
                raise InputError(_truncated(position + len(chunk), end))
            yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f'cannot be read ({error}); copy it again') from error


def _start(stream: IO[bytes]) -> bytes:
    try:
        return stream.read(HEADER_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f'cannot be read ({error}); copy it again') from error


def _truncated(size: int, required: int) -> str:
    return f'truncated: {size:,} bytes, but its header requires {required:,}; copy it again'


def _slices(path: str, layout: Layout) -> tuple[int, tuple[Slice, ...]]:
    """The array axis along the body, and the slices in order. Raises InputError if oblique."""
    shape, affine = layout.shape, layout.affine
    steps = affine[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    cosines = np.abs(steps) / np.maximum(lengths, np.finfo(float).tiny)
    world = cosines.argmax(0)
    oblique = math.degrees(math.acos(min(1.0, cosines.max(0).min())))
    if sorted(world) != [0, 1, 2] or oblique > MAX_OBLIQUE:
        raise InputError(
            f'its axes deviate by {oblique:.1f} degrees from those of the body; at most '
            f'{MAX_OBLIQUE:g} are expected: resample it to axial slices'
        )
    axis = int(world.tolist().index(2))
    rows, columns = (i for i in range(3) if i != axis)
    slices = []
    for k in range(shape[axis]):
        stored = Grid(
            rows=shape[rows],
            columns=shape[columns],
            spacing=(float(lengths[rows]), float(lengths[columns])),
            position=_vector(affine[:3, 3] + k * steps[:, axis]),
            row_direction=_vector(steps[:, columns] / lengths[columns]),
            column_direction=_vector(steps[:, rows] / lengths[rows]),
        )
        if k == 0:
            refuse_invalid(stored)
        grid, turn = to_patient_orientation(stored)
        slices.append(
            Slice(grid, grid.middle[2], path, '', k, turn, layout.slope, layout.intercept)
        )
    return axis, tuple(slices if steps[2, axis] > 0 else reversed(slices))


def _vector(array: np.ndarray) -> Vector:
    x, y, z = map(float, array)
    return x, y, z
