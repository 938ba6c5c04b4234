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

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from bodycomp_jax.data.scans.grid import (
    MAX_SIDE,
    Grid,
    Vector,
    refuse_invalid,
    to_patient_orientation,
)
from bodycomp_jax.data.scans.hu import FAT, looks_like_hu, to_hu
from bodycomp_jax.data.scans.metadata import COLUMNS
from bodycomp_jax.data.scans.series import Series, Slice
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.file_formats import other_format
from bodycomp_jax.runtime.files import explained, open_regular_file

HEADERS = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}  # by their first number
HEADER_BYTES = max(HEADERS)
GZIP = b'\x1f\x8b'
MAX_INFLATION = 1032  # of gzip
CHUNK_BYTES = 1 << 22
MAX_EXTENSION_BYTES = 1 << 20
MAX_OBLIQUE = 5.0  # degrees
MILLIMETRES = ('mm', 'unknown')
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


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
            size = os.fstat(file.fileno()).st_size
            start = _start(_inflated(file))
        try:
            header = _header(start)
            self._shape, self._dtype = _shape(header), header.get_data_dtype()
            self._offset = int(header.get_data_offset())
            affine, scale = _affine(header), header.get_slope_inter()
        except InputError:
            raise
        except Exception as error:  # nibabel raises several types
            raise InputError(f'not a readable NIfTI header ({error}); copy it again') from error
        if self._dtype.kind not in 'iuf':
            raise InputError(f'its voxels are {self._dtype}; expected whole numbers or floats')
        if self._offset < len(header.binaryblock):
            raise InputError(
                f'its voxels begin at byte {self._offset}, within the header; the file is damaged, '
                'or one of a pair: convert it to a single .nii file'
            )
        self._end = self._offset + math.prod(self._shape) * self._dtype.itemsize
        if self._end > size * MAX_INFLATION:
            raise InputError(_truncated(size, self._end))
        slope, intercept = scale if scale[0] is not None else (1, 0)
        scale = (float(slope), float(intercept))
        self._axis, self.slices = _slices(path, affine, self._shape, scale)

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
            chunks = _chunks(_inflated(file), self._offset, self._end)
            for chunk in chunks:
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
        end = min(self._offset, MAX_EXTENSION_BYTES)
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
        return ArrayProxy(file, (self._shape, self._dtype, self._offset))

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


def _header(start: bytes) -> nibabel.Nifti1Header:
    for order in ('little', 'big'):
        size = int.from_bytes(start[:4], cast(Any, order))
        if size in HEADERS and len(start) >= size:
            return HEADERS[size](start[:size], check=False)
    other = other_format(start, 'name files after their format')
    raise InputError(f'not a NIfTI file{f", but {other}" if other else ""}')


def _shape(header: nibabel.Nifti1Header) -> tuple[int, int, int]:
    shape = [int(n) for n in header.get_data_shape()]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    shape += [1] * (3 - len(shape))
    if len(shape) > 3 or not all(0 < n <= MAX_SIDE for n in shape):
        raise InputError(
            f'{" x ".join(map(str, shape))} voxels; expected three dimensions of 1 to {MAX_SIDE}'
        )
    return shape[0], shape[1], shape[2]


def _affine(header: nibabel.Nifti1Header) -> np.ndarray:
    """`[4, 4]` from indices of voxels to LPS in mm. Raises InputError if it is unknown."""
    if not (header['sform_code'] or header['qform_code']):
        raise InputError(
            'sform_code and qform_code are 0: orientation and position of the image are unknown; '
            'convert it again with its affine'
        )
    unit, affine = header.get_xyzt_units()[0], TO_LPS @ header.get_best_affine()
    if unit not in MILLIMETRES:
        raise InputError(f'its affine is in {unit}; expected mm')
    if not np.isfinite(affine).all():
        raise InputError('its affine holds numbers that are not finite; write the image again')
    return affine


def _slices(
    path: str, affine: np.ndarray, shape: tuple[int, int, int], scale: tuple[float, float]
) -> tuple[int, tuple[Slice, ...]]:
    """The array axis along the body, and the slices in order. Raises InputError if oblique."""
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
        slices.append(Slice(grid, grid.middle[2], path, '', k, turn, *scale))
    return axis, tuple(slices if steps[2, axis] > 0 else reversed(slices))


def _vector(array: np.ndarray) -> Vector:
    x, y, z = map(float, array)
    return x, y, z
