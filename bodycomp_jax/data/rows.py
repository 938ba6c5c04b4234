"""Arrays that are read row by row, and selections of rows of several of them."""

import abc
import math
import os
import zlib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from bodycomp_jax.errors import InputError

FINGERPRINT_ROWS = 16


class Rows(abc.ABC):
    """An array on disk that is read row by row, along its first axis.

    Attributes:
      path: where it is, for messages.
      selection: which rows of the files it has; '' if it is a file.
      shape, dtype, fortran_order: of the whole array.
    """

    path: str
    selection = ''
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """Size of a row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Size of the whole array."""
        return self.shape[0] * self.row_bytes

    @property
    @abc.abstractmethod
    def files(self) -> 'Sequence[Rows]':
        """The arrays of the files that it is made of."""

    @abc.abstractmethod
    def name(self, row: int) -> str:
        """A row, a slice, for messages that begin with `path`."""

    @abc.abstractmethod
    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Copies of the rows at these indices, in that order: `[B, ...]`, native endian.

        Raises RunError if a file was truncated after it was opened.
        """

    @abc.abstractmethod
    def read_span(self, start: int, stop: int) -> np.ndarray:
        """Copies of consecutive rows: `[stop - start, ...]`, native endian. Errors as `read`."""

    @abc.abstractmethod
    def touched(self) -> bool:
        """Whether a file was written or replaced since it was opened, or since the last call."""

    @abc.abstractmethod
    def reopened(self) -> Self:
        """The same rows of the files that are there now.

        Raises InputError if their shapes or types are others.
        """

    def spans(self, chunk_bytes: int) -> list[tuple[int, int]]:
        """(first row, row after the last) of consecutive parts of about `chunk_bytes`."""
        n = max(1, chunk_bytes // max(1, self.row_bytes))
        return [(start, min(start + n, len(self))) for start in range(0, len(self), n)]

    def fingerprint(self) -> dict[str, Any]:
        """Properties that identify the array: 'shape', 'dtype', 'bytes' and 'fingerprint'.

        The last is the CRC-32 of up to 16 rows spread evenly over the file, from the first to
        the last row. A change of other rows alone goes unnoticed.
        """
        sample = np.linspace(0, len(self) - 1, min(len(self), FINGERPRINT_ROWS)).astype(int)
        return {
            'shape': list(self.shape),
            'dtype': self.dtype.str,
            'bytes': self.nbytes,
            'fingerprint': zlib.crc32(self.read(sample).data),
        }


class SelectedRows(Rows):
    """Some rows of several arrays, as if they were one."""

    def __init__(
        self, sources: Sequence[Rows], rows: np.ndarray, *, folder: str, selection: str
    ) -> None:
        """Reads nothing.

        Args:
          sources: arrays whose rows have the same shape, axes of length 1 aside.
          rows: indices among the rows of all arrays, one after the other.
          folder: of the files.
          selection: what messages call these rows.

        Raises InputError for rows of different shapes.
        """
        first = sources[0]
        for other in sources[1:]:
            if _without_ones(other.shape[1:]) != _without_ones(first.shape[1:]):
                raise InputError(
                    f'{other.path}: an array of shape {other.shape}, but {first.path} has shape '
                    f'{first.shape}; resample both to the same size'
                )
        self.path, self.selection = f'{folder}, {selection}', selection
        self.shape = (len(rows), *first.shape[1:])
        self.dtype = np.result_type(*(source.dtype for source in sources))
        self.fortran_order = False
        self._sources, self._rows, self._folder = sources, rows, folder
        self._ends = np.cumsum([len(source) for source in sources])

    @property
    def files(self) -> Sequence[Rows]:
        """See `Rows`."""
        return self._sources

    def name(self, row: int) -> str:
        """See `Rows`."""
        numbers, own_rows = self._locate(np.array([row]))
        source = self._sources[numbers[0]]
        return f'{source.name(own_rows[0])} of {os.path.basename(source.path)}'

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """See `Rows`."""
        array = np.empty((len(rows), *self.shape[1:]), self.dtype)
        numbers, own_rows = self._locate(np.asarray(rows))
        for number, source in enumerate(self._sources):
            here = numbers == number
            array[here] = source.read(own_rows[here]).reshape(-1, *self.shape[1:])
        return array

    def read_span(self, start: int, stop: int) -> np.ndarray:
        """See `Rows`."""
        return self.read(np.arange(start, stop))

    def touched(self) -> bool:
        """See `Rows`."""
        touched = [source.touched() for source in self._sources]  # asks each of them
        return any(touched)

    def reopened(self) -> 'SelectedRows':
        """See `Rows`."""
        sources = [source.reopened() for source in self._sources]
        return SelectedRows(sources, self._rows, folder=self._folder, selection=self.selection)

    def _locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two arrays `[B]`: the number of the source of each row, and its index there."""
        rows = self._rows[rows]
        numbers = np.searchsorted(self._ends, rows, side='right')
        starts = np.concatenate([[0], self._ends])
        return numbers, rows - starts[numbers]


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
