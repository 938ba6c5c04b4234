"""Planes of labels with positions, and how they come onto the pixels of an image."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.scans import Grid, Series
from bodycomp_jax.errors import InputError

TOLERANCE = 0.05  # of a pixel, or of the gap between planes
DEFAULT_GAP = 1.0  # mm; of a single plane without a thickness


class ImageUids(NamedTuple):
    """FrameOfReferenceUID and SeriesInstanceUID of an image; '' where unknown."""

    frame_of_reference: str = ''
    series: str = ''


UNKNOWN = ImageUids()


@dataclasses.dataclass(frozen=True)
class LabelPlanes:
    """Parallel planes of labels, read when asked for.

    Attributes:
      path: of the mask.
      grids: of the K planes in patient orientation, from the feet to the head; they differ in
        position only.
      thickness: mm; 0 if unknown.
      complete: whether there is a plane for each slice of the scan, as in NIfTI.
      read: the `[R, C]` uint8 labels of plane k; raises InputError if it cannot be read.
      image: that the mask was made on.
    """

    path: str
    grids: tuple[Grid, ...]
    thickness: float
    complete: bool
    read: Callable[[int], np.ndarray] = dataclasses.field(repr=False)
    image: ImageUids = UNKNOWN

    def __len__(self) -> int:
        return len(self.grids)

    @functools.cached_property
    def positions(self) -> np.ndarray:
        """`[K, 3]` mm, of the middle of the first pixel of each plane."""
        return np.array([grid.position for grid in self.grids])

    @functools.cached_property
    def gap(self) -> float:
        """The mm along the normal that a plane stands for."""
        gaps = [*np.diff(self._heights), self.thickness]
        return float(min((mm for mm in gaps if mm > 0), default=DEFAULT_GAP))

    def plane_of(self, grid: Grid) -> int | None:
        """The plane whose pixels are those of a slice."""
        corners = _corners(grid)
        k = int(self._nearest_plane(self.grids[0].normal @ corners[0]))
        plane = self.grids[k]
        if (plane.rows, plane.columns) != (grid.rows, grid.columns):
            return None
        distance = np.abs((corners - _corners(plane)) @ _axes(plane))
        same = (distance <= TOLERANCE * np.array([*plane.spacing, self.gap])).all()
        return k if same else None

    def nearest(self, grid: Grid) -> np.ndarray:
        """The labels nearest to the pixels of a slice: `[rows, columns]` uint8.

        Pixels outside of the planes, and more than half a gap from the nearest, are not labelled.
        """
        first = self.grids[0]
        down, along, normal = _axes(first).T
        height = _products(grid, normal)
        k = self._nearest_plane(height)
        r, c = (
            np.rint((_products(grid, axis) - (self.positions @ axis)[k]) / mm)
            for axis, mm in zip((down, along), first.spacing, strict=True)
        )
        inside = (r >= 0) & (r < first.rows) & (c >= 0) & (c < first.columns)
        inside &= np.abs(height - self._heights[k]) <= self.gap / 2
        labels = np.full((grid.rows, grid.columns), ct.NOT_LABELLED, np.uint8)
        for plane in np.unique(k[inside]):
            here = inside & (k == plane)
            labels[here] = self.read(plane)[r[here].astype(int), c[here].astype(int)]
        return labels

    @functools.cached_property
    def _heights(self) -> np.ndarray:
        """`[K]` mm along the normal."""
        return self.positions @ self.grids[0].normal

    def _nearest_plane(self, height: np.ndarray) -> np.ndarray:
        return np.searchsorted((self._heights[1:] + self._heights[:-1]) / 2, height)


def described(grids: Sequence[Grid]) -> str:
    """Parallel slices for a message."""
    first, corners = grids[0], np.concatenate([_corners(grids[0]), _corners(grids[-1])])
    ends = zip('xyz', corners.min(axis=0), corners.max(axis=0), strict=True)
    extent = ', '.join(f'{axis} {low:.2f} to {high:.2f}' for axis, low, high in ends)
    return (
        f'{len(grids)} slices of {first.rows} x {first.columns} pixels of '
        f'{first.spacing[0]:.4g} x {first.spacing[1]:.4g} mm ({extent} mm)'
    )


def refuse_other_image(planes: LabelPlanes, series: Series, *, same_series: bool) -> None:
    """Raises InputError for a mask of another image, as far as UIDs tell.

    Args:
      planes: the mask.
      series: the image.
      same_series: whether the mask must be of this series, not only of this frame of reference.
    """
    uids = {'FrameOfReferenceUID': (planes.image.frame_of_reference, series.frame_of_reference)}
    remedy = 'give the mask of this image'
    if same_series:
        uids['SeriesInstanceUID'] = planes.image.series, series.uid
        remedy += ', or add --resample_masks to take that of another series of the patient'
    for keyword, (of_mask, of_image) in uids.items():
        if of_mask and of_image and of_mask != of_image:
            raise InputError(
                f'{planes.path}: made on an image whose {keyword} is {of_mask}, but that of '
                f'{series.slices[0].path} is {of_image}; {remedy}'
            )


class PlanesMask:
    """The labels of the slices of a series, from planes with positions."""

    def __init__(self, planes: LabelPlanes, series: Series, *, resample: bool) -> None:
        """Raises InputError for planes on another grid or series, unless they are to be resampled.

        Raises it for another frame of reference anyway.
        """
        refuse_other_image(planes, series, same_series=not resample)
        self._planes, self._series, self._resample = planes, series, resample
        self._plane_of = [planes.plane_of(each.grid) for each in series.slices]
        found = {k for k in self._plane_of if k is not None}
        fits = len(found) == len(planes) and not (planes.complete and None in self._plane_of)
        if not fits and not resample:
            raise InputError(
                f'{planes.path}: {described(planes.grids)}, but its image '
                f'{series.slices[0].path} has {described([each.grid for each in series.slices])}: '
                'the grids differ; make the mask on the image, or add --resample_masks (nearest)'
            )

    def labels(self, i: int) -> np.ndarray:
        """See `Mask`; a slice without a plane is not labelled."""
        grid, k = self._series.slices[i].grid, self._plane_of[i]
        if k is not None:
            return self._planes.read(k)
        if self._resample:
            return self._planes.nearest(grid)
        return np.full((grid.rows, grid.columns), ct.NOT_LABELLED, np.uint8)


def _axes(grid: Grid) -> np.ndarray:
    """`[3, 3]` unit vectors as columns: along which rows follow, columns follow, and the normal."""
    return np.stack([grid.column_direction, grid.row_direction, grid.normal], axis=1)


def _products(grid: Grid, vector: np.ndarray) -> np.ndarray:
    """`[rows, columns]` products of a vector with the positions of the pixels of a slice."""
    row_mm, column_mm = grid.spacing
    rows = np.arange(grid.rows) * (row_mm * (vector @ grid.column_direction))
    columns = np.arange(grid.columns) * (column_mm * (vector @ grid.row_direction))
    return vector @ grid.position + rows[:, None] + columns


def _corners(grid: Grid) -> np.ndarray:
    """`[4, 3]` mm."""
    ends = [(r, c) for r in (0, grid.rows - 1) for c in (0, grid.columns - 1)]
    return np.array([grid.point(r, c) for r, c in ends])
