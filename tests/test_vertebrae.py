import numpy as np
import pytest

from bodycomp_jax.vertebrae import find_level, sigmoid

Z = np.arange(-200.0, 150.0, 4.0)


def test_sigmoid_does_not_overflow():
    with np.errstate(all='raise'):
        assert sigmoid([-1e4, 0.0, 1e4]).tolist() == [0, 0.5, 1]
    assert sigmoid(1.3) == pytest.approx(1 / (1 + np.exp(-1.3)))


@pytest.mark.parametrize('level', [-197.0, -31.3, 0.0, 2.0, 140.0])
def test_the_level_of_an_ideal_curve_is_found_between_slices_in_any_order(level):
    order = np.random.default_rng(0).permutation(len(Z))
    assert find_level(Z[order], (Z - level)[order], 10.0) == pytest.approx(level, abs=0.5)


def test_a_wrong_slice_does_not_move_the_level_far():
    offsets = Z - 20.0
    offsets[np.abs(Z).argmin() + 5] = -60.0  # at 20 mm, where 0 is right
    assert find_level(Z, offsets, 10.0) == pytest.approx(20, abs=5)


def test_of_several_crossings_the_one_that_fits_the_whole_curve_counts():
    offsets = Z - 50.0
    offsets[:6] = 30.0  # a few slices of the pelvis look as if they were above the level
    assert find_level(Z, offsets, 10.0) == pytest.approx(50, abs=0.5)


def test_a_level_at_an_end_stays_there_when_a_few_slices_rise_elsewhere():
    z = np.arange(0, 325.0, 5.0)
    offsets = z + 1.0  # of a level 1 mm below the series
    offsets[[40, 41]] = -20.0
    assert find_level(z, offsets, 10.0) == 0


@pytest.mark.parametrize('spacing', [3.0, 10.0, 20.0])
def test_between_thick_slices_the_level_is_found_as_exactly(spacing):
    z = np.arange(0, 200, spacing)
    for level in (80.0, 83.1, 86.4):
        assert find_level(z, z - level, 10.0) == pytest.approx(level, abs=0.2)


def test_without_a_crossing_the_end_that_fits_is_found():
    assert find_level(Z, Z - 300.0, 10.0) == Z[-1]
    assert find_level(Z, Z + 300.0, 10.0) == Z[0]
    assert find_level([7.0], [20.0], 10.0) == 7.0
