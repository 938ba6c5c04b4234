"""Series of CT slices in their order; pixels are read when asked for."""

import collections
import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from bodycomp_jax.data.scans.grid import Grid, Turn

COLUMNS = (
    'patient_id', 'study_date', 'accession_number', 'study_description', 'study_instance_uid',
    'series_instance_uid', 'modality', 'slice_thickness_mm', 'reconstruction_kernel',
    'contrast_bolus_agent', 'manufacturer', 'manufacturer_model_name', 'station_name',
    'series_description', 'acquisition_date', 'acquisition_time', 'tube_current_mA',
    'exposure_mAs', 'exposure_time_ms', 'kvp',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Slice:
    """A slice of a series.

    Attributes:
      grid: of its pixels in patient orientation.
      z: mm of its middle, positive towards the head.
      path: of its file.
      sop_instance_uid: '' in NIfTI files, and where a file has none.
      frame: its index among the slices of the file.
      turn: from the pixels of the file to patient orientation.
      slope, intercept: from stored numbers to HU.
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
      uid: SeriesInstanceUID; '' if unknown. Parts of a DICOM series may share it.
      name: a name for the series without identifiers of the patient, distinct among those found.
      metadata: a text for each of `COLUMNS`, '' where unknown; read when first asked for.
    """

    slices: tuple[Slice, ...]
    uid: str
    name: str
    read_stored: Callable[[Slice], np.ndarray] = dataclasses.field(repr=False)
    read_metadata: Callable[[], dict[str, str]] = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self.slices)

    @functools.cached_property
    def metadata(self) -> dict[str, str]:
        return self.read_metadata()

    @property
    def patient_id(self) -> str:
        """'' if unknown."""
        return self.metadata['patient_id']

    @functools.cached_property
    def z(self) -> np.ndarray:
        """`[N]` mm of the middles of the slices, rising towards the head."""
        return np.array([each.z for each in self.slices])

    @functools.cached_property
    def distances(self) -> np.ndarray:
        """`[N - 1]` mm between neighbouring slices, along their normal."""
        normal = self.slices[0].grid.normal
        return np.diff([normal @ each.grid.position for each in self.slices])

    @property
    def tilt_degrees(self) -> float:
        """Angle between the slices and the axial plane."""
        return self.slices[0].grid.tilt_degrees

    def hu(self, i: int) -> np.ndarray:
        """`[rows, columns]` int16 HU of slice i in patient orientation, -1024 where there is none.

        Raises InputError if the file cannot be read or decoded, or for values that are not HU.
        """
        return np.ascontiguousarray(self.slices[i].turn.apply(self.read_stored(self.slices[i])))

    def read(self, indices: Iterable[int], threads: int | None = None) -> Iterator[np.ndarray]:
        """`hu` of these slices in this order, a few of them decoded in advance in threads."""
        ahead = threads or os.cpu_count() or 1
        with concurrent.futures.ThreadPoolExecutor(ahead) as pool:
            pending: collections.deque[concurrent.futures.Future] = collections.deque()
            try:
                for i in indices:
                    pending.append(pool.submit(self.hu, i))
                    if len(pending) > ahead:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)
