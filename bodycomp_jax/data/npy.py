"""Rows of `.npy` files: random access without a memory map, and writing row by row.

Reading with `pread` is as fast as copying out of a memory map, but the pages do not count as
memory of this process, and a file truncated during a run raises an error instead of SIGBUS.
"""

import contextlib
import io
import math
import os
import stat
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from bodycomp_jax.errors import InputError, RunError

MAX_HEADER_BYTES = 1 << 16  # numpy.save writes 118; the format allows 4 GiB
FINGERPRINT_ROWS = 16
COPY_BYTES = 1 << 26  # of a Fortran-ordered file, held in memory at a time


class NpyRows:
    """The array in a `.npy` file of format version 1 to 3, row by row along its first axis.

    Attributes:
      path: the file.
      shape, dtype, fortran_order: of the whole array, as its header says. A Fortran-ordered file
        is copied when its rows are first read, to a temporary file in row order.
    """

    def __init__(self, path):
        """Reads the header alone; raises InputError if it is not that of a plain array."""
        self.path = os.fspath(path)
        self._take(_open_regular_file(self.path))
        self.shape, self.fortran_order, self.dtype, self._offset = _read_header(self._fd, self.path)
        self._row_shape = self.shape[1:]
        self._row_bytes = math.prod(self._row_shape) * self.dtype.itemsize
        self._refuse_short_file()
        self._scattered = self.fortran_order
        self._copying = threading.Lock()

    def __len__(self):
        return self.shape[0]

    @property
    def nbytes(self):
        return self.shape[0] * self._row_bytes

    def read(self, indices):
        """Copies of the rows at `indices`, in that order: `[len(indices), ...]`, native endian.

        Raises RunError if the file has become shorter since it was opened.
        """
        self._bring_rows_together()
        rows = np.empty((len(indices), *self._row_shape), self.dtype)
        for row, index in zip(rows, indices, strict=True):
            self._read_into(row, self._offset + int(index) * self._row_bytes)
        return _native(rows)

    def chunks(self, chunk_bytes):
        """The whole array in file order, as (first row, `[n, ...]` rows) of about that size."""
        self._bring_rows_together()
        n = max(1, chunk_bytes // max(1, self._row_bytes))
        for start in range(0, len(self), n):
            rows = np.empty((min(n, len(self) - start), *self._row_shape), self.dtype)
            self._read_into(rows, self._offset + start * self._row_bytes)
            yield start, _native(rows)

    def _read_into(self, array, position):
        buffer = memoryview(array.reshape(-1).view(np.uint8))
        while buffer:
            count = os.preadv(self._fd, [buffer], position)
            if count == 0:
                raise RunError(
                    f'{self.path}: the file ends at byte {position}, but its header promises '
                    f'{self._offset + self.nbytes}; it was cut short after this run opened it. '
                    'Restore the file and give the same command again'
                )
            buffer, position = buffer[count:], position + count

    def _refuse_short_file(self):
        size, promised = os.fstat(self._fd).st_size, self._offset + self.nbytes
        if size < promised:
            raise InputError(
                f'{self.path}: the file has {size:,} bytes, but its header promises {promised:,} '
                f'({self.dtype} of shape {self.shape}); it was cut short, copy it again'
            )

    def identity(self):
        """What tells this array from another: {'shape', 'dtype', 'bytes', 'fingerprint'}.

        The fingerprint is the CRC-32 of up to `FINGERPRINT_ROWS` rows spread over the file.
        """
        sample = np.linspace(0, len(self) - 1, min(len(self), FINGERPRINT_ROWS)).astype(int)
        return {
            'shape': list(self.shape),
            'dtype': self.dtype.str,
            'bytes': self.nbytes,
            'fingerprint': zlib.crc32(self.read(sample)),
        }

    def _take(self, fd):
        """Reads from this file descriptor from now on, and closes it with the object."""
        self._fd = fd
        weakref.finalize(self, os.close, fd)

    def _bring_rows_together(self):
        """From a Fortran-ordered file makes an unlinked copy in row order, and reads that.

        In such a file each row is scattered over the whole file, so that reading rows in random
        order would read all of it for each.
        """
        with self._copying:
            if self._scattered:
                with tempfile.TemporaryFile() as copy:
                    self._write_in_row_order(copy)
                    self._take(os.dup(copy.fileno()))
                self._offset, self._scattered = 0, False

    def _write_in_row_order(self, copy):
        """Writes blocks of rows, each gathered from all columns of the file."""
        shape = self.shape
        while len(shape) > 1 and shape[-1] == 1:  # a column is what the last axis counts
            shape = shape[:-1]
        N, *middle, columns = shape if len(shape) > 1 else (*shape, 1)
        column = np.empty((*middle[::-1], N), self.dtype)
        block = max(1, COPY_BYTES // max(1, self._row_bytes))
        for start in range(0, N, block):
            rows = np.empty((min(block, N - start), *middle, columns), self.dtype)
            for i in range(columns):
                self._read_into(column, self._offset + i * column.nbytes)
                rows[..., i] = column[..., start : start + block].T
            rows.tofile(copy)
        copy.flush()


class NpyWriter:
    """Writes a `.npy` file row by row, with the bytes that `numpy.save` gives the stacked rows."""

    def __init__(self, file: BinaryIO) -> None:
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
        """Writes the number of rows and flushes the file to disk. Raises ValueError if 0."""
        if self._count == 0:
            raise ValueError(f'{self._file.name}: no rows to write')
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())

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
    temporaries = [f'{path}.tmp' for path in paths]
    try:
        with contextlib.ExitStack() as stack:
            writers = [NpyWriter(stack.enter_context(open(path, 'wb'))) for path in temporaries]
            yield writers
            for writer in writers:
                writer.finish()
        for temporary, path in zip(temporaries, paths, strict=True):
            os.replace(temporary, path)
    except BaseException:
        for temporary in temporaries:
            with contextlib.suppress(OSError):
                os.remove(temporary)
        raise


def _open_regular_file(path):
    """A file descriptor; no waiting for the writer of a pipe. Raises InputError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f'{path}: cannot be opened ({error.strerror})') from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InputError(f'{path}: not a file with an array in it; write it with numpy.save')
    return fd


def _read_header(fd, path):
    """(shape, Fortran order, dtype, offset of the data). Raises InputError.

    numpy parses the header, but only once its length is known to be sane: numpy would read
    as much as the header claims to be. Nothing is ever unpickled.
    """
    start = os.pread(fd, MAX_HEADER_BYTES, 0)
    try:
        version = np.lib.format.read_magic(io.BytesIO(start))
        length_bytes = 2 if version == (1, 0) else 4
        offset = 8 + length_bytes + int.from_bytes(start[8 : 8 + length_bytes], 'little')
        if offset > len(start):
            raise ValueError(f'a header of {offset:,} bytes')
        stream = io.BytesIO(start[:offset])
        stream.seek(8)
        # Versions 2 and 3 differ in the encoding of field names alone, and arrays have none.
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(stream, max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # the parsers of Python and numpy raise almost anything
        raise InputError(
            f'{path}: not a readable .npy file ({error}); write it with numpy.save'
        ) from error
    if not shape or min(shape) < 0 or dtype.kind not in 'biufc':
        raise InputError(
            f'{path}: holds {dtype} of shape {shape}, not an array of numbers; '
            'write it with numpy.save'
        )
    return tuple(int(n) for n in shape), fortran_order, dtype, offset  # True counts as 1


def _native(rows):
    return rows.astype(rows.dtype.newbyteorder('='), copy=False)
