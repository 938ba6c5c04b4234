"""Series of CT slices in their order; pixels are read when asked for."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from bodycomp_jax.data.batches import ReadAhead
from bodycomp_jax.data.scans.grid import Grid, Turn, dot
from bodycomp_jax.data.scans.reasons import naming

ROUNDING = 0.1  # mm


@dataclasses.dataclass(frozen=True, slots=True)
class Slice:
    """A slice of a series.

    Attributes:
      grid: of its pixels in patient orientation.
      z: mm of its middle, positive towards the head.
      path: of its file.
      sop_instance_uid: '' in NIfTI files, and where a file has none.
      frame: its index among the slices of the file.
      turn: from the pixels of the file to patient orientation.
      slope, intercept: from the numbers in the file to HU.
    """

    grid: Grid
    z: float
    path: str
    sop_instance_uid: str
    frame: int
    turn: Turn
    slope: float
    intercept: float


@dataclasses.dataclass(frozen=True)
class Series:
    """Slices of one patient, parallel and in order along their normal, from the feet to the head.

    Attributes:
      slices: N slices.
      uid: SeriesInstanceUID; '' if unknown. Parts of a DICOM series share it.
      name: tells the series found together apart, without identifiers of the patient; may be that
        of a file.
      frame_of_reference: FrameOfReferenceUID; '' if unknown. Positions of others are not related.
    """

    slices: tuple[Slice, ...]
    uid: str
    name: str
    _open: Callable[[], Callable[[Slice], np.ndarray]] = dataclasses.field(repr=False)
    _read_metadata: Callable[[], dict[str, str]] = dataclasses.field(repr=False)
    frame_of_reference: str = ''
    _opening: threading.Lock = dataclasses.field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.slices)

    @functools.cached_property
    def _reader(self) -> Callable[[Slice], np.ndarray]:
        """What reads HU as the file has them; files may stay open as long as the series exists."""
        return self._open()

    def _read_stored(self, of: Slice) -> np.ndarray:
        with self._opening:  # one reader for all threads
            read = self._reader
        return read(of)

    @functools.cached_property
    def metadata(self) -> dict[str, str]:
        """A text for each of `metadata.COLUMNS`, '' where unknown; of the first slice.

        Raises InputError if the file can no longer be read.
        """
        return self._read_metadata()

    @property
    def patient_id(self) -> str:
        """'' if unknown."""
        return self.metadata['patient_id']

    @property
    def prone(self) -> bool | None:
        """Whether the patient lies on the belly; None if unknown."""
        position = self.metadata['patient_position']
        return position.endswith('P') if position else None

    @functools.cached_property
    def z(self) -> np.ndarray:
        """`[N]` mm of the middles of the slices, towards the head."""
        return np.array([each.z for each in self.slices])

    def nearest(self, mm: float) -> int:
        """The index of the slice nearest to a height; the first of two."""
        return int(np.abs(self.z - mm).argmin())

    def is_nearest(self, z: float, mm: float) -> bool:
        """Whether no slice is nearer to a height than that at z, but for what tables round."""
        return abs(z - mm) <= np.abs(self.z - mm).min() + ROUNDING

    @functools.cached_property
    def distances(self) -> np.ndarray:
        """`[N - 1]` mm from each slice to the next, along their normal."""
        normal = self.slices[0].grid.normal
        return np.diff([dot(normal, each.grid.middle) for each in self.slices])

    @property
    def tilt_degrees(self) -> float:
        """Angle between the slices and the axial plane."""
        return self.slices[0].grid.tilt_degrees

    def hu(self, i: int) -> np.ndarray:
        """`[rows, columns]` int16 HU of slice i in patient orientation, -1024 where there are none.

        Raises InputError if the file cannot be read or decoded, or for values that are not HU.
        """
        of = self.slices[i]
        with naming(of.path):
            return np.ascontiguousarray(of.turn.apply(self._read_stored(of)))

    def read(self, indices: Iterable[int]) -> Iterator[np.ndarray]:
        """`hu` of these slices in this order; threads read a few of them ahead."""
        return iter(ReadAhead(self.hu, indices))
