"""Where the pixels of a slice are in the patient, and how its rows and columns must be turned."""

import dataclasses
import math

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.errors import InputError

Vector = tuple[float, float, float]

MAX_SKEW = 1e-3  # cosine of the angle of rows and columns, deviation of their lengths from 1
MAX_TILT = 35.0  # degrees; gantries tilt by up to 30
MIN_SPACING, MAX_SPACING = 0.05, 100.0  # mm
MAX_POSITION = 10_000.0  # mm from the origin; scanners have theirs near the patient


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where the pixels of a slice are, in patient coordinates (LPS, mm).

    Attributes:
      rows, columns: number of rows, of columns.
      spacing: mm between rows, between columns.
      position: of the middle of the first pixel.
      row_direction: unit vector along which the column index grows.
      column_direction: unit vector along which the row index grows.
    """

    rows: int
    columns: int
    spacing: tuple[float, float]
    position: Vector
    row_direction: Vector
    column_direction: Vector

    @property
    def normal(self) -> Vector:
        """Unit vector perpendicular to the slice; towards the head in patient orientation."""
        (a, b, c), (d, e, f) = self.row_direction, self.column_direction
        return b * f - c * e, c * d - a * f, a * e - b * d

    @property
    def tilt_degrees(self) -> float:
        """Angle between the slice and the axial plane."""
        return math.degrees(math.acos(min(1.0, abs(self.normal[2]))))

    @property
    def middle(self) -> Vector:
        """Patient coordinates in mm of the middle of the slice."""
        return self.point((self.rows - 1) / 2, (self.columns - 1) / 2)

    def point(self, row: float, column: float) -> Vector:
        """Patient coordinates in mm of a pixel, or of a point between pixels."""
        down, along = row * self.spacing[0], column * self.spacing[1]
        x, y, z = (
            start + down * a + along * b
            for start, a, b in zip(
                self.position, self.column_direction, self.row_direction, strict=True
            )
        )
        return x, y, z


@dataclasses.dataclass(frozen=True)
class Turn:
    """What brings the pixels of a file to patient orientation: transposed, then flipped."""

    transposed: bool = False
    rows_flipped: bool = False
    columns_flipped: bool = False

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """A view of `[rows, columns]` pixels of the file, in patient orientation."""
        return self._flipped(pixels.T if self.transposed else pixels)

    def undo(self, pixels: np.ndarray) -> np.ndarray:
        """A view of `[rows, columns]` pixels in patient orientation, as in the file."""
        flipped = self._flipped(pixels)
        return flipped.T if self.transposed else flipped

    def _flipped(self, pixels: np.ndarray) -> np.ndarray:
        rows = slice(None, None, -1 if self.rows_flipped else 1)
        columns = slice(None, None, -1 if self.columns_flipped else 1)
        return pixels[rows, columns]


def refuse_invalid(grid: Grid) -> None:
    """Raises InputError, without the file, for a grid that is invalid or not axial."""
    if not (0 < grid.rows <= ct.MAX_SIDE and 0 < grid.columns <= ct.MAX_SIDE):
        raise InputError(
            f'slices of {grid.rows} x {grid.columns} pixels; expected 1 to {ct.MAX_SIDE} of each'
        )
    if not all(MIN_SPACING < mm <= MAX_SPACING for mm in grid.spacing):
        raise InputError(
            f'a pixel spacing of {_listed(grid.spacing)}; expected mm above {MIN_SPACING:g}, at '
            f'most {MAX_SPACING:g}'
        )
    along, down = grid.row_direction, grid.column_direction
    skew = max(abs(dot(along, along) - 1), abs(dot(down, down) - 1), abs(dot(along, down)))
    if not skew <= MAX_SKEW:
        raise InputError(
            f'rows along {_listed(grid.row_direction)} and columns along '
            f'{_listed(grid.column_direction)}; expected perpendicular vectors of length 1'
        )
    if grid.tilt_degrees > MAX_TILT:
        raise InputError(
            f'not axial: {grid.tilt_degrees:.0f} degrees from the axial plane, at most '
            f'{MAX_TILT:.0f} are expected; a localizer or a reformatted image'
        )


def refuse_far(grid: Grid) -> None:
    """Raises InputError, without the file, for a slice where no scanner has a patient."""
    if not all(abs(mm) <= MAX_POSITION for mm in grid.position):
        raise InputError(
            f'a position of {_listed(grid.position)}; expected at most {MAX_POSITION:g} mm from '
            'the origin'
        )


def to_patient_orientation(stored: Grid) -> tuple[Grid, Turn]:
    """The grid with its rows to the patient's left and its columns to the back, and the turn."""
    along, down = stored.row_direction, stored.column_direction
    rows, columns = stored.rows, stored.columns
    row_spacing, column_spacing = stored.spacing
    transposed = abs(along[0]) < abs(down[0])
    if transposed:
        along, down, rows, columns = down, along, columns, rows
        row_spacing, column_spacing = column_spacing, row_spacing
    turn = Turn(transposed, rows_flipped=down[1] < 0, columns_flipped=along[0] < 0)
    first = stored.point(
        (stored.rows - 1) * (turn.columns_flipped if transposed else turn.rows_flipped),
        (stored.columns - 1) * (turn.rows_flipped if transposed else turn.columns_flipped),
    )
    if turn.rows_flipped:
        down = _reversed(down)
    if turn.columns_flipped:
        along = _reversed(along)
    return Grid(rows, columns, (row_spacing, column_spacing), first, along, down), turn


def dot(a: Vector, b: Vector) -> float:
    """The scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _reversed(vector: Vector) -> Vector:
    x, y, z = vector
    return -x, -y, -z


def _listed(numbers: tuple[float, ...]) -> str:
    return ', '.join(f'{number:g}' for number in numbers)
