"""Planes of labels with positions, and how they come onto the pixels of an image.

Positions are patient coordinates in mm (LPS).
"""

import dataclasses
import functools

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.scans import Grid, Series
from bodycomp_jax.errors import InputError

TOLERANCE = 0.05  # of a pixel, or of the gap between planes
MAX_VOXELS = 1 << 31  # a byte each


@dataclasses.dataclass(frozen=True)
class LabelVolume:
    """Parallel planes of labels.

    Attributes:
      path: of the mask.
      labels: `[K, R, C]` uint8.
      positions: `[K, 3]` mm, of the middle of the first pixel of each plane; ascending along the
        normal.
      row_step, column_step: `[3]` mm from a pixel to that in the next row, or column.
      gap: mm between planes.
      complete: whether there is a plane for each slice, as in NIfTI; otherwise slices without a
        plane are not labelled.
    """

    path: str
    labels: np.ndarray
    positions: np.ndarray
    row_step: np.ndarray
    column_step: np.ndarray
    gap: float
    complete: bool

    @functools.cached_property
    def normal(self) -> np.ndarray:
        """`[3]` unit vector perpendicular to the planes."""
        normal = np.cross(self.column_step, self.row_step)
        return normal / np.linalg.norm(normal)

    def on(self, grid: Grid) -> np.ndarray:
        """The labels nearest to the pixels of a slice: `[rows, columns]` uint8.

        Pixels outside of the planes, and more than half a gap from the nearest, are not labelled.
        """
        height = _along(grid, self.normal)
        k = self._nearest_plane(height)
        near = np.abs(height - self._heights[k]) <= self.gap / 2
        r, c = (
            np.rint(_along(grid, axis) - (self.positions @ axis)[k]).astype(int)
            for axis in self._axes
        )
        _, R, C = self.labels.shape
        inside = near & (r >= 0) & (r < R) & (c >= 0) & (c < C)
        labels = np.full((grid.rows, grid.columns), ct.NOT_LABELLED, np.uint8)
        labels[inside] = self.labels[k[inside], r[inside], c[inside]]
        return labels

    def plane_of(self, grid: Grid) -> int | None:
        """The plane that has the pixels of a slice, in any order of rows and columns."""
        corners = _corners(grid)
        k = int(self._nearest_plane(self.normal @ corners[0]))
        offset = corners - self.positions[k]
        index = offset @ self._axes.T
        last = np.array(self.labels.shape[1:]) - 1
        from_corners = np.minimum(np.abs(index), np.abs(index - last))
        same = (
            np.abs(offset @ self.normal).max() <= TOLERANCE * self.gap
            and from_corners.max() <= TOLERANCE
            and np.abs(np.ptp(index, axis=0) - last).max() <= TOLERANCE
        )
        return k if same else None

    @functools.cached_property
    def _heights(self) -> np.ndarray:
        """`[K]` mm along the normal."""
        return self.positions @ self.normal

    @functools.cached_property
    def _axes(self) -> np.ndarray:
        """`[2, 3]`, from mm within a plane to a row and a column."""
        return np.linalg.pinv(np.stack([self.row_step, self.column_step], axis=1))

    def _nearest_plane(self, height: np.ndarray) -> np.ndarray:
        heights = self._heights
        return np.searchsorted((heights[1:] + heights[:-1]) / 2, height)


def refuse_other_grid(volume: LabelVolume, series: Series) -> None:
    """Raises InputError unless the planes have the pixels of the slices of a series."""
    planes = [volume.plane_of(each.grid) for each in series.slices]
    found = {k for k in planes if k is not None}
    if len(found) == len(volume.labels) and not (volume.complete and None in planes):
        return
    first, last = (series.slices[i].grid for i in (0, -1))
    corners = np.concatenate([_corners(first), _corners(last)])
    image = _description(len(planes), first.rows, first.columns, first.spacing, corners)
    raise InputError(
        f'{volume.path}: {_described(volume)}, but the image {series.slices[0].path} has {image}: '
        'the grids differ; make the mask on the image itself, or add --resample_masks (nearest)'
    )


def _described(volume: LabelVolume) -> str:
    K, R, C = volume.labels.shape
    rows, columns = np.meshgrid([0, R - 1], [0, C - 1])
    offsets = np.outer(rows, volume.row_step) + np.outer(columns, volume.column_step)
    corners = (volume.positions[[0, -1], None] + offsets).reshape(-1, 3)
    spacing = float(np.linalg.norm(volume.row_step)), float(np.linalg.norm(volume.column_step))
    return _description(K, R, C, spacing, corners)


def _description(
    count: int, rows: int, columns: int, spacing: tuple[float, float], corners: np.ndarray
) -> str:
    """A grid for a message, in words that do not depend on the order of its axes."""
    ends = zip('xyz', corners.min(axis=0), corners.max(axis=0), strict=True)
    extent = ', '.join(f'{axis} {low:.2f} to {high:.2f}' for axis, low, high in ends)
    return (
        f'{count} slices of {rows} x {columns} pixels of {spacing[0]:.4g} x {spacing[1]:.4g} mm '
        f'({extent} mm)'
    )


def _along(grid: Grid, vector: np.ndarray) -> np.ndarray:
    """`[rows, columns]` products of a vector with the positions of the pixels of a slice."""
    row_mm, column_mm = grid.spacing
    rows = np.arange(grid.rows) * (row_mm * (vector @ grid.column_direction))
    columns = np.arange(grid.columns) * (column_mm * (vector @ grid.row_direction))
    return vector @ grid.position + rows[:, None] + columns


def _corners(grid: Grid) -> np.ndarray:
    """`[4, 3]` mm."""
    ends = [(r, c) for r in (0, grid.rows - 1) for c in (0, grid.columns - 1)]
    return np.array([grid.point(r, c) for r, c in ends])
