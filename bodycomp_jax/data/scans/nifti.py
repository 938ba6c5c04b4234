"""Slices in NIfTI files, of images and of masks."""

import contextlib
import functools
import gzip
import hashlib
import io
import itertools
import math
import os
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from typing import IO, cast

import numpy as np

from bodycomp_jax.data.scans.grid import (
    Grid,
    Vector,
    refuse_far,
    refuse_invalid,
    to_patient_orientation,
)
from bodycomp_jax.data.scans.hu import FAT, Span, to_hu
from bodycomp_jax.data.scans.metadata import COLUMNS
from bodycomp_jax.data.scans.nifti_header import HEADER_BYTES, HEADERS, Layout, read_layout
from bodycomp_jax.data.scans.series import Series, Slice
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import HASH_DIGITS, explained, open_regular_file

GZIP = b'\x1f\x8b'
MAX_INFLATION = 1032  # of gzip
CHUNK_BYTES = 1 << 22
NO_MORE = 'Not a gzipped file'  # what gzip says of bytes after the end, which it ignores too
COPY_BYTES = 1 << 24  # memory for a copy whose slices are in one piece
MAX_EXTENSION_BYTES = 1 << 20
MAX_OBLIQUE = 5.0  # degrees


def is_nifti_name(path: str) -> bool:
    """Whether a file is named like a NIfTI file."""
    return path.lower().endswith(('.nii', '.nii.gz'))


def open_series(path: str) -> Series:
    """The slices of an image, see `NiftiVolume`. Raises InputError unless its values are HU."""
    volume = NiftiVolume(path)
    for each in volume.slices:
        refuse_far(each.grid)
    if volume.lowest_possible > FAT:
        raise InputError(
            f'values from {volume.lowest_possible:g} on, by their type, do not look like HU, which '
            f'begin below {FAT} in fat and air; a mask, or an image that was rescaled'
        )
    if fault := volume.span().fault:
        raise InputError(fault)
    return Series(
        slices=volume.slices,
        uid='',
        name=volume.name(),
        _open=functools.partial(_reader, path),
        _read_metadata=lambda: dict.fromkeys(COLUMNS, ''),
    )


def _reader(path: str) -> Callable[[Slice], np.ndarray]:
    """What reads HU of the slices of an image."""
    volume = NiftiVolume(path)
    return lambda of: to_hu(volume.stored(of), of.slope, of.intercept)


class NiftiVolume:
    """A three-dimensional image or mask, read slice by slice.

    The first slice that is read of a file that is compressed, or whose slices are not in one piece,
    makes a copy in the temporary folder, which exists as long as the volume.

    Attributes:
      slices: axial, in patient orientation, from the feet to the head.
    """

    def __init__(self, path: str) -> None:
        """Reads the header. Raises InputError for other files."""
        self._path = path
        self._opening = threading.Lock()
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
        with self._opening:
            file, start = self._opened
        rows, columns = (n for axis, n in enumerate(self._shape) if axis != self._axis)
        wanted = rows * columns * self._dtype.itemsize
        try:
            content = os.pread(file.fileno(), wanted, start + of.frame * wanted)
        except OSError as error:
            raise InputError(f'cannot be read ({explained(error, "")})') from error
        if len(content) < wanted:
            raise InputError(_truncated(start + of.frame * wanted + len(content), self._end))
        return np.frombuffer(content, self._dtype).reshape(columns, rows).T

    @property
    def lowest_possible(self) -> float:
        """The lowest value that voxels of this type can have."""
        if self._dtype.kind == 'f':
            return -math.inf
        limits, of = np.iinfo(self._dtype), self.slices[0]
        return min(end * of.slope + of.intercept for end in (int(limits.min), int(limits.max)))

    def span(self) -> Span:
        """Of all values, or of a first part that can be CT.

        Raises InputError if the file cannot be read.
        """
        span, of = Span(), self.slices[0]
        with open(open_regular_file(self._path), 'rb') as file, np.errstate(all='ignore'):
            for chunk in _chunks(_inflated(file), self._start, self._end):
                values = np.frombuffer(chunk, self._dtype)
                if (of.slope, of.intercept) != (1, 0):
                    values = values * of.slope + of.intercept
                span = span.joined(Span.of(values))
                if not span.fault:
                    break
        return span

    def name(self) -> str:
        """A name from the contents of the file; the same wherever it lies."""
        digest = hashlib.sha256()
        with open(open_regular_file(self._path), 'rb') as file:
            digest.update(file.read(CHUNK_BYTES))
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - CHUNK_BYTES))
            digest.update(file.read(CHUNK_BYTES))
        digest.update(str(size).encode())
        return 'nifti-' + digest.hexdigest()[:HASH_DIGITS]

    def extensions(self) -> bytes:
        """What the file has between header and voxels, such as a table of labels.

        Raises InputError if the file cannot be read.
        """
        end = min(self._start, MAX_EXTENSION_BYTES)
        with open(open_regular_file(self._path), 'rb') as file:
            return b''.join(_chunks(_inflated(file), min(HEADERS), end))

    @functools.cached_property
    def _opened(self) -> tuple[IO[bytes], int]:
        """A file with one slice after the other, and where they begin: this one, or a copy.

        A slice of another file could be read only with all slices before it, or with all others.
        """
        file: IO[bytes] = os.fdopen(open_regular_file(self._path), 'rb')
        stream, start = _inflated(file), self._start
        if stream is not file or self._axis != 2:
            with file:
                file, start = self._copy(stream), 0
        weakref.finalize(self, file.close)
        return file, start

    def _copy(self, stream: IO[bytes]) -> IO[bytes]:
        size = self._end - self._start
        try:
            with tempfile.TemporaryFile() as copy:
                for position, piece in self._pieces(stream):
                    copy.seek(position)
                    copy.write(piece)
                if isinstance(stream, gzip.GzipFile):
                    _refuse_damaged(stream)
                copy.flush()
                return os.fdopen(os.dup(copy.fileno()), 'rb')
        except OSError as error:
            raise InputError(
                f'needs a copy of {size / 1e6:,.0f} MB in the temporary folder '
                f'{tempfile.gettempdir()}, which failed ({explained(error, "")}); set TMPDIR to a '
                'folder with more space'
            ) from error

    def _pieces(self, stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
        """Voxels, and the byte at which they begin where one slice comes after the other."""
        x, y, _ = self._shape
        plane_bytes = x * y * self._dtype.itemsize
        block_bytes = plane_bytes * max(1, COPY_BYTES // plane_bytes)
        blocks = _chunks(stream, self._start, self._end, block_bytes)
        for start, block in zip(itertools.count(0, block_bytes), blocks, strict=False):
            if self._axis == 2:
                yield start, block
                continue
            planes = np.frombuffer(block, self._dtype).reshape(-1, y, x)
            lines = np.moveaxis(planes, 2 - self._axis, 0)  # of each slice
            slice_bytes = (self._end - self._start) // len(lines)
            for k, of_slice in enumerate(lines):
                yield k * slice_bytes + start // len(lines), of_slice.tobytes()


def _inflated(file: IO[bytes]) -> IO[bytes]:
    """The file itself, or a stream of what it holds compressed."""
    file.seek(0)
    is_gzip = file.read(len(GZIP)) == GZIP
    file.seek(0)
    return cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_gzip else file


def _chunks(
    stream: IO[bytes], start: int, end: int, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """The bytes from `start` to `end` in parts. Raises InputError if the file has fewer."""
    with _readable():
        stream.seek(start)
    for position in range(start, end, chunk_bytes):
        wanted = min(chunk_bytes, end - position)
        with _readable():
            chunk = stream.read(wanted)
        if len(chunk) < wanted:
            raise InputError(_truncated(position + len(chunk), end))
        yield chunk


def _refuse_damaged(stream: IO[bytes]) -> None:
    """Reads to the end of a compressed file, where its checksum is. Raises InputError if wrong."""
    with _readable():
        try:
            while stream.read(CHUNK_BYTES):
                pass
        except gzip.BadGzipFile as error:
            if not str(error).startswith(NO_MORE):
                raise


def _start(stream: IO[bytes]) -> bytes:
    with _readable():
        return stream.read(HEADER_BYTES)


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
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
