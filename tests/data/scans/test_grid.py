import itertools
import math

import numpy as np
import pytest

from bodycomp_jax.data.scans.grid import (
    Grid,
    Turn,
    refuse_far,
    refuse_invalid,
    to_patient_orientation,
)
from bodycomp_jax.errors import InputError

X, Y = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def grid(**changes):
    defaults = {
        'rows': 4,
        'columns': 6,
        'spacing': (0.75, 0.5),
        'position': (-10.0, -20.0, 30.0),
        'row_direction': X,
        'column_direction': Y,
    }
    return Grid(**defaults | changes)


def signed(vector, sign):
    return tuple(sign * component for component in vector)


def coordinates(of):
    """`[rows, columns, 3]` patient coordinates of the pixels."""
    return np.array([[of.point(r, c) for c in range(of.columns)] for r in range(of.rows)])


@pytest.mark.parametrize('transposed', [False, True])
@pytest.mark.parametrize(('along', 'down'), list(itertools.product((-1, 1), repeat=2)))
def test_pixels_keep_their_place_in_the_patient(transposed, along, down):
    directions = (Y, X) if transposed else (X, Y)
    stored = grid(
        row_direction=signed(directions[0], along), column_direction=signed(directions[1], down)
    )
    turned, turn = to_patient_orientation(stored)
    places = coordinates(stored)
    moved = np.stack([turn.apply(places[..., i]) for i in range(3)], -1)
    np.testing.assert_allclose(moved, coordinates(turned))
    assert turned.row_direction == X
    assert turned.column_direction == Y
    np.testing.assert_allclose(turned.middle, stored.middle)


@pytest.mark.parametrize('flags', list(itertools.product((False, True), repeat=3)))
def test_masks_are_turned_back(flags):
    pixels = np.arange(12).reshape(3, 4)
    turn = Turn(*flags)
    np.testing.assert_array_equal(turn.undo(turn.apply(pixels)), pixels)


def test_tilt_is_the_angle_to_the_axial_plane():
    down = (0.0, math.cos(math.radians(14)), -math.sin(math.radians(14)))
    assert grid(column_direction=down).tilt_degrees == pytest.approx(14)
    assert grid().tilt_degrees == 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'rows': 0}, '0 x 6 pixels; expected 1 to 8192'),
        ({'columns': 60000}, '4 x 60000 pixels'),
        ({'spacing': (0.0, 0.5)}, 'spacing of 0, 0.5; expected mm above 0'),
        ({'spacing': (-1.0, 0.5)}, 'spacing of -1'),
        ({'spacing': (1e-6, 0.5)}, 'spacing of 1e-06, 0.5; expected mm above 0.05, at most 100'),
        ({'row_direction': (0.0, 0.0, 0.0)}, 'perpendicular vectors of length 1'),
        ({'row_direction': Y}, 'perpendicular'),
        ({'column_direction': (0.0, 0.0, -1.0)}, 'not axial: 90 degrees'),
        ({'row_direction': Y, 'column_direction': (0.0, 0.0, 1.0)}, 'not axial: 90 degrees'),
    ],
)
def test_grids_that_are_invalid_or_not_axial_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        refuse_invalid(grid(**changes))


@pytest.mark.parametrize('mm', [1e5, -1e5, math.nan])
def test_slices_far_from_any_patient_are_refused(mm):
    refuse_far(grid(position=(0.0, 0.0, 9000.0)))
    with pytest.raises(InputError, match=r'position of 0, 0, .*; expected at most 10000 mm'):
        refuse_far(grid(position=(0.0, 0.0, mm)))


def test_a_tilted_gantry_is_accepted():
    refuse_invalid(grid(column_direction=(0.0, 0.8660254, -0.5)))
