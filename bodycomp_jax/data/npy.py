"""Rows of `.npy` files: random access without a memory map, and writing row by row.

Reading with `pread` is as fast as copying out of a memory map, but the pages do not count as
memory of this process, and a file truncated during a run raises an error instead of SIGBUS.
"""

import contextlib
import io
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

from bodycomp_jax.data.rows import Rows
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.runtime.file_formats import other_format
from bodycomp_jax.runtime.files import explained, open_regular_file, replacing

MAX_HEADER_BYTES = 1 << 16  # numpy.save writes 118; the format allows 4 GiB
COPY_BYTES = 1 << 26  # memory for copying a Fortran-ordered file
MAGIC = b'\x93NUMPY'
SAVE_NUMBERS = 'convert it to plain integers or floats (astype), then use numpy.save'


class NpyRows(Rows):
    """The array in a `.npy` file of format version 1 to 3, row by row along its first axis.

    Attributes:
      path: the file.
      shape, dtype, fortran_order: of the whole array, from the header. The first access to the
        rows of a Fortran-ordered file copies it to a temporary file in row order.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Reads the header alone; raises InputError unless it describes an array of numbers."""
        self.path = os.fspath(path)
        self._keep_open(open_regular_file(self.path))
        self._identity = _identity(os.fstat(self._fd))
        self.shape, self.fortran_order, self.dtype, self._offset = _read_header(self._fd, self.path)
        self._refuse_other_size()
        self._in_row_order = not self.fortran_order
        self._copying = threading.Lock()

    @property
    def files(self) -> Sequence[Rows]:
        """See `Rows`."""
        return [self]

    def name(self, row: int) -> str:
        """See `Rows`."""
        return f'slice {row}'

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """See `Rows`."""
        self._ensure_row_order()
        array = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for target, row in zip(array, rows, strict=True):
            self._read_into(target, self._offset + int(row) * self.row_bytes)
        return _native(array)

    def read_span(self, start: int, stop: int) -> np.ndarray:
        """See `Rows`."""
        self._ensure_row_order()
        array = np.empty((stop - start, *self.shape[1:]), self.dtype)
        self._read_into(array, self._offset + start * self.row_bytes)
        return _native(array)

    def touched(self) -> bool:
        """See `Rows`."""
        try:
            found = _identity(os.stat(self.path))
        except OSError:  # the open file is still read
            return False
        before, self._identity = self._identity, found
        return found != before

    def reopened(self) -> 'NpyRows':
        """See `Rows`."""
        now = NpyRows(self.path)
        if (now.shape, now.dtype) != (self.shape, self.dtype):
            raise InputError(
                f'{self.path}: {now.dtype} of shape {now.shape}, but it was {self.dtype} of shape '
                f'{self.shape}'
            )
        return now

    def _read_into(self, array: np.ndarray, position: int) -> None:
        buffer = array.reshape(-1).view(np.uint8).data
        while buffer:
            try:
                count = os.preadv(self._fd, [buffer], position)
            except OSError as error:
                raise RunError(f'{self.path}: cannot be read ({explained(error, "")})') from error
            if count == 0:
                raise RunError(
                    f'{self.path}: the file ends at byte {position}, but its header requires '
                    f'{self._offset + self.nbytes}; it was truncated during this run. Restore the '
                    'file and repeat the same command'
                )
            buffer, position = buffer[count:], position + count

    def _refuse_other_size(self) -> None:
        size, required = os.fstat(self._fd).st_size, self._offset + self.nbytes
        if size != required:
            fault = 'it is truncated, copy it again'
            if size > required:
                fault = 'the rest would be ignored; save a single array with numpy.save'
            raise InputError(
                f'{self.path}: the file has {size:,} bytes, but its header requires {required:,} '
                f'({self.dtype} of shape {self.shape}); {fault}'
            )

    def _keep_open(self, fd: int) -> None:
        """Reads from this file descriptor from now on, and closes it with the object."""
        self._fd = fd
        weakref.finalize(self, os.close, fd)

    def _ensure_row_order(self) -> None:
        """Replaces a Fortran-ordered file by an unlinked copy in row order.

        Each row of such a file is scattered over the whole file: random access to rows would
        read the whole file for each.
        """
        with self._copying:
            if self._in_row_order:
                return
            try:
                with tempfile.TemporaryFile() as copy:
                    self._write_in_row_order(copy)
                    self._keep_open(os.dup(copy.fileno()))
            except OSError as error:
                raise InputError(
                    f'{self.path}: in Fortran order, needs a copy of {self.nbytes / 1e6:,.0f} MB '
                    f'in the temporary folder {tempfile.gettempdir()}, which failed '
                    f'({explained(error, "")}); set TMPDIR to a folder with more space, or save '
                    'the array in C order (numpy.ascontiguousarray)'
                ) from error
            self._offset, self._in_row_order = 0, True

    def _write_in_row_order(self, copy: IO[bytes]) -> None:
        """Writes blocks of rows, each gathered from all columns of the file."""
        shape = self.shape
        while len(shape) > 1 and shape[-1] == 1:  # the last axis counts the columns
            shape = shape[:-1]
        N, *middle, columns = shape if len(shape) > 1 else (*shape, 1)
        column = np.empty((*middle[::-1], N), self.dtype)
        block = max(1, COPY_BYTES // max(1, self.row_bytes))
        for start in range(0, N, block):
            rows = np.empty((min(block, N - start), *middle, columns), self.dtype)
            for i in range(columns):
                self._read_into(column, self._offset + i * column.nbytes)
                rows[..., i] = column[..., start : start + block].T
            copy.write(rows.data)  # `tofile` does not say why it fails
        copy.flush()


class NpyWriter:
    """Writes a `.npy` file row by row, with the bytes that `numpy.save` gives the stacked rows."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._count = file, 0

    def append(self, row: np.ndarray) -> None:
        """Writes the next row. Raises ValueError if its shape or type differs from the first."""
        if self._count == 0:
            self._shape, self._dtype = row.shape, row.dtype
            self._write_header()
        if (row.shape, row.dtype) != (self._shape, self._dtype):
            raise ValueError(
                f'{self._file.name}: row {self._count} is {row.dtype} of shape {row.shape}, but '
                f'the first is {self._dtype} of shape {self._shape}'
            )
        self._file.write(np.ascontiguousarray(row).data)
        self._count += 1

    def finish(self) -> None:
        """Writes the number of rows. Raises ValueError if it is 0."""
        if self._count == 0:
            raise ValueError(f'{self._file.name}: no rows to write')
        self._write_header()

    def _write_header(self) -> None:
        """numpy pads headers so that the length of the first axis can grow in place."""
        self._file.seek(0)
        descr = np.lib.format.dtype_to_descr(self._dtype)
        shape = (self._count, *self._shape)
        np.lib.format.write_array_header_1_0(
            self._file, {'descr': descr, 'fortran_order': False, 'shape': shape}
        )


@contextlib.contextmanager
def npy_writers(*paths: str) -> Iterator[list[NpyWriter]]:
    """Writers of files that replace `paths` together when the block ends without an error."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(replacing(path, binary=True)) for path in paths]
        writers = [NpyWriter(file) for file in files]
        yield writers
        for writer in writers:
            writer.finish()


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read_header(fd: int, path: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """(shape, Fortran order, dtype, offset of the data). Raises InputError.

    numpy parses the header, but only after a check of its length: numpy would read as many bytes
    as the header claims to have. Nothing is ever unpickled.
    """
    try:
        start = os.pread(fd, MAX_HEADER_BYTES, 0)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({explained(error, "")})') from error
    other = None if start.startswith(MAGIC) else other_format(start, 'write it with numpy.save')
    if other is not None:
        raise InputError(f'{path}: not a readable .npy file, but {other}')
    try:
        version = np.lib.format.read_magic(io.BytesIO(start))
        length_bytes = 2 if version == (1, 0) else 4
        offset = 8 + length_bytes + int.from_bytes(start[8 : 8 + length_bytes], 'little')
        if offset > len(start):
            raise ValueError(f'a header of {offset:,} bytes')
        stream = io.BytesIO(start[:offset])
        stream.seek(8)
        # Versions 2 and 3 differ only in the encoding of field names; plain arrays have none.
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(stream, max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # the parsers of Python and numpy raise almost anything
        raise InputError(f'{path}: not a readable .npy file ({error}); {SAVE_NUMBERS}') from error
    if not shape or min(shape) < 0 or dtype.kind not in 'biufc':
        raise InputError(
            f'{path}: {dtype} of shape {shape}, expected an array of numbers, such as int16 '
            f'(numpy.save keeps neither bfloat16 nor lists of arrays); {SAVE_NUMBERS}'
        )
    return tuple(int(n) for n in shape), fortran_order, dtype, offset  # True counts as 1


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder('='), copy=False)
