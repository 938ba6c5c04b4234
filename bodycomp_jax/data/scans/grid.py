"""Where the pixels of a slice are in the patient, and how its rows and columns must be turned."""

import dataclasses
import math

import numpy as np

from bodycomp_jax.errors import InputError

Vector = tuple[float, float, float]

MAX_SKEW = 1e-3  # cosine of the angle of rows and columns, deviation of their lengths from 1
MAX_TILT = 35.0  # degrees; gantries tilt by up to 30
MAX_SPACING = 100.0  # mm
MAX_SIDE = 8192  # pixels


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
    def normal(self) -> np.ndarray:
        """`[3]` unit vector perpendicular to the slice; towards the head in patient orientation."""
        return np.cross(self.row_direction, self.column_direction)

    @property
    def tilt_degrees(self) -> float:
        """Angle between the slice and the axial plane."""
        return math.degrees(math.acos(min(1.0, abs(float(self.normal[2])))))

    def point(self, row: float, column: float) -> np.ndarray:
        """`[3]` patient coordinates in mm of a (fractional) pixel."""
        down = row * self.spacing[0] * np.asarray(self.column_direction)
        along = column * self.spacing[1] * np.asarray(self.row_direction)
        return np.asarray(self.position) + down + along

    @property
    def middle(self) -> np.ndarray:
        """`[3]` patient coordinates in mm of the middle of the slice."""
        return self.point((self.rows - 1) / 2, (self.columns - 1) / 2)


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
    if not (0 < grid.rows <= MAX_SIDE and 0 < grid.columns <= MAX_SIDE):
        raise InputError(
            f'slices of {grid.rows} x {grid.columns} pixels; expected 1 to {MAX_SIDE} of each'
        )
    if not all(0 < mm <= MAX_SPACING for mm in grid.spacing):
        raise InputError(f'a pixel spacing of {_listed(grid.spacing)}; expected mm above 0')
    directions = np.array([grid.row_direction, grid.column_direction])
    skew = directions @ directions.T - np.eye(2)
    if not np.abs(skew).max() <= MAX_SKEW:
        raise InputError(
            f'rows along {_listed(grid.row_direction)} and columns along '
            f'{_listed(grid.column_direction)}; expected perpendicular vectors of length 1'
        )
    if grid.tilt_degrees > MAX_TILT:
        raise InputError(
            f'not axial: {grid.tilt_degrees:.0f} degrees from the axial plane, at most '
            f'{MAX_TILT:.0f} are expected; a localizer or a reformatted image'
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
    position = np.asarray(stored.position)
    if turn.rows_flipped:
        position = position + (rows - 1) * row_spacing * np.asarray(down)
        down = _reversed(down)
    if turn.columns_flipped:
        position = position + (columns - 1) * column_spacing * np.asarray(along)
        along = _reversed(along)
    x, y, z = map(float, position)
    return Grid(rows, columns, (row_spacing, column_spacing), (x, y, z), along, down), turn


def _reversed(vector: Vector) -> Vector:
    x, y, z = vector
    return -x, -y, -z


def _listed(numbers: tuple[float, ...]) -> str:
    return ', '.join(f'{number:g}' for number in numbers)
