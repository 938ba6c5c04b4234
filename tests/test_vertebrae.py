import numpy as np
import pytest

from bodycomp_jax.vertebrae import find_level, sigmoid

Z = np.arange(-200.0, 150.0, 4.0)


def found_z(z, offsets):
    """The position of a level that must be inside the series."""
    found = find_level(z, offsets, 10.0)
    assert not found.outside
    return found.z


def test_sigmoid_does_not_overflow():
    with np.errstate(all='raise'):
        assert sigmoid([-1e4, 0.0, 1e4]).tolist() == [0, 0.5, 1]
    assert sigmoid(1.3) == pytest.approx(1 / (1 + np.exp(-1.3)))


@pytest.mark.parametrize('level', [-197.0, -31.3, 0.0, 2.0, 140.0])
def test_the_level_of_an_ideal_curve_is_found_between_slices_in_any_order(level):
    order = np.random.default_rng(0).permutation(len(Z))
    found = find_level(Z[order], (Z - level)[order], 10.0)
    assert found.z == pytest.approx(level, abs=0.5)
    assert found.misfit < 0.002
    assert not found.outside


def test_a_wrong_slice_does_not_move_the_level_far():
    offsets = Z - 20.0
    offsets[np.abs(Z).argmin() + 5] = -60.0  # at 20 mm, where 0 is right
    assert found_z(Z, offsets) == pytest.approx(20, abs=5)


def test_the_crossing_that_fits_the_whole_curve_wins():
    offsets = Z - 50.0
    offsets[:6] = 30.0  # a few slices of the pelvis look as if they were above the level
    assert found_z(Z, offsets) == pytest.approx(50, abs=0.5)


def test_the_misfit_is_a_mean_over_mm_not_over_slices():
    """A fourth of the series, scanned ten times as densely, contradicts the rest.

    Its 100 mm pretend a level at 35 mm; the other 300 mm fit a level at 180 mm.
    """
    z = np.concatenate([np.arange(0.0, 100.0), np.arange(100.0, 401.0, 10.0)])
    offsets = np.where(z < 100, z - 35.0, z - 180.0)
    assert found_z(z, offsets) == pytest.approx(180, abs=1)
    assert find_level(z, offsets, 10.0).misfit == pytest.approx(65 / 400, abs=0.02)


def test_a_level_at_an_end_stays_there_when_a_few_slices_rise_elsewhere():
    z = np.arange(0, 325.0, 5.0)
    offsets = z + 1.0  # of a level 1 mm below the series
    offsets[[40, 41]] = -20.0
    assert found_z(z, offsets) == 0


@pytest.mark.parametrize('spacing', [3.0, 10.0, 20.0])
def test_between_thick_slices_the_level_is_found_as_precisely(spacing):
    z = np.arange(0, 200, spacing)
    for level in (80.0, 83.1, 86.4):
        assert found_z(z, z - level) == pytest.approx(level, abs=0.2)


@pytest.mark.parametrize(
    ('level', 'end', 'outside'),
    [
        (Z[-1] + 1, Z[-1], False),  # within half a slice of the last one
        (Z[-1] + 4, Z[-1], True),
        (Z[-1] + 300, Z[-1], True),
        (Z[0] - 1, Z[0], False),
        (Z[0] - 4, Z[0], True),
        (Z[0] - 300, Z[0], True),
    ],
)
def test_a_level_beyond_an_end_is_outside(level, end, outside):
    found = find_level(Z, Z - level, 10.0)
    assert (found.z, found.outside) == (end, outside)


def test_one_slice_shows_the_level_or_not():
    assert find_level([7.0], [20.0], 10.0)[::2] == (7.0, True)
    assert find_level([7.0], [-2.0], 10.0)[::2] == (7.0, False)


def test_offsets_that_are_not_finite_give_no_position():
    found = find_level(Z, np.where(Z == 0, np.nan, Z), 10.0)
    assert np.isnan(found.z)
    assert np.isnan(found.misfit)
    assert found.outside


def test_a_poor_fit_has_a_large_misfit():
    noise = np.random.default_rng(0).normal(0, 30, len(Z))
    good, poor = (find_level(Z, offsets, 10.0).misfit for offsets in (Z - 20, Z - 20 + noise))
    assert good < 0.002 < 0.05 < poor
