"""Rows of a `.npy` file, read by position: nothing is mapped, nothing is kept.

Reading with `pread` costs what copying out of a memory map costs, but the pages never count as
this process's memory, and a file cut short under a run is an error, not a bus error.
"""

import math
import os
import tempfile
import weakref

import numpy as np

from bodycomp_jax.errors import InputError, WorkError

COPY_BYTES = 1 << 28  # of a Fortran-ordered file, held in memory at a time


class NpyRows:
    """The array in a `.npy` file of format version 1 to 3, row by row along its first axis.

    Attributes:
      path: the file.
      shape, dtype: of the whole array, as its header says.
    """

    def __init__(self, path):
        """Reads the header alone; raises InputError if it is not that of a plain array."""
        self.path = os.fspath(path)
        header = _read_header(self.path)
        self.shape, self.dtype = header.shape, header.dtype
        fortran_order = header.flags.f_contiguous and not header.flags.c_contiguous
        self._row_shape = self.shape[1:]
        self._row_bytes = math.prod(self._row_shape) * self.dtype.itemsize
        self._offset = header.offset
        self._take(os.open(self.path, os.O_RDONLY))
        if fortran_order:
            self._read_from_c_order_copy()

    def __len__(self):
        return self.shape[0]

    @property
    def nbytes(self):
        return len(self) * self._row_bytes

    def read(self, indices):
        """Copies of the rows at `indices`, in that order: `[len(indices), ...]`, native endian.

        Raises WorkError if the file has become shorter since it was opened.
        """
        rows = np.empty((len(indices), *self._row_shape), self.dtype)
        for row, index in zip(rows, indices, strict=True):
            self._read_into(row, self._offset + int(index) * self._row_bytes)
        return _native(rows)

    def chunks(self, chunk_bytes):
        """The whole array in file order, as (first row, `[n, ...]` rows) of about that size."""
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
                raise WorkError(
                    f'{self.path}: the file ends at byte {position}, but its header promises '
                    f'{self._offset + self.nbytes}; it was cut short after this run opened it. '
                    'Restore the file and give the same command again'
                )
            buffer, position = buffer[count:], position + count

    def _take(self, fd):
        """Reads from this file descriptor from now on, and closes it with the object."""
        self._fd = fd
        weakref.finalize(self, os.close, fd)

    def _read_from_c_order_copy(self):
        """Makes a temporary, unlinked copy in which a row lies in one piece, and reads that.

        In a Fortran-ordered file each row is scattered over the whole file, so that reading
        rows in random order would read all of it for each.
        """
        N, *_, columns = self.shape
        column_shape = self.shape[1:-1][::-1]
        column_bytes = math.prod(column_shape) * N * self.dtype.itemsize
        block = max(1, COPY_BYTES // self._row_bytes)
        with tempfile.TemporaryFile() as copy:
            for start in range(0, N, block):
                rows = np.empty((min(block, N - start), *self._row_shape), self.dtype)
                for i in range(columns):
                    column = np.empty((*column_shape, N), self.dtype)
                    self._read_into(column, self._offset + i * column_bytes)
                    rows[..., i] = column[..., start : start + block].T
                rows.tofile(copy)
            copy.flush()
            self._take(os.dup(copy.fileno()))
        self._offset = 0


def _read_header(path):
    if not os.path.exists(path):
        raise InputError(f'{path}: there is no such file')
    try:
        return np.lib.format.open_memmap(path, mode='r')
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise InputError(
            f'{path}: not a readable .npy file ({error}); write it with numpy.save'
        ) from error


def _native(rows):
    return rows.astype(rows.dtype.newbyteorder('='), copy=False)
