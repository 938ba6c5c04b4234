"""What is found in a series."""

import dataclasses
from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.scans import Series
from bodycomp_jax.errors import InputError
from bodycomp_jax.vertebrae import LevelPosition

MEASURED = 'measured'  # a status
SINGLE_SLICE = 'slice'  # the level of slices that are measured as they are

Numbers = dict[str, float | None]


class NotMeasured(InputError):
    """A series of which nothing is to be measured, with a status."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Curve(NamedTuple):
    """The predicted offsets from a level, and the position that fits them.

    Attributes:
      z: `[N]` mm of the slices that the network has seen, towards the head.
      offsets: `[N]` mm, positive towards the head.
      position: of the level.
    """

    z: np.ndarray
    offsets: np.ndarray
    position: LevelPosition


class SeenSlices(NamedTuple):
    """Slices of a series that a network has seen, for views of the series.

    Attributes:
      grey: `[N, S, S]` uint8.
      z: `[N]` mm of the slices, in any order.
      pixel: mm of a pixel.
    """

    grey: np.ndarray
    z: np.ndarray
    pixel: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """A slice of a series and what it measures.

    Attributes:
      level: such as 'L3'; `SINGLE_SLICE` for slices that are measured as they are.
      index: of the slice in the series.
      labels: `[rows, columns]` uint8 on the pixels of the slice, in patient orientation.
      hu: `[rows, columns]` int16.
      numbers: {column of `measuring.COLUMNS`: value}, None where it is unknown.
    """

    level: str
    index: int
    labels: np.ndarray
    hu: np.ndarray
    numbers: Numbers


class Missing(NamedTuple):
    """Why a level is not measured: in a word, and in a sentence."""

    status: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What is found in a series.

    Attributes:
      series: the series.
      status: 'measured' if a slice is, or in a word why nothing is.
      reason: of the status, in a sentence; '' if measured.
      measured: slices, from the first level to the last.
      curve: {level: curve} of the levels that a network looked for.
      metadata: of the series, '' where unknown.
      missing: {level: why it is not measured}.
      slab: the other slices around the levels, from the feet to the head.
      seen: slices in which a network looked for levels; None if none did.
    """

    series: Series
    status: str
    reason: str
    measured: list[Measured]
    curve: dict[str, Curve]
    metadata: dict[str, str]
    missing: dict[str, Missing] = dataclasses.field(default_factory=dict)
    slab: list[Measured] = dataclasses.field(default_factory=list)
    seen: SeenSlices | None = None
