import numpy as np
import pytest

from bodycomp_jax.vertebrae import find_level, find_levels, fit_spine, sigmoid

Z = np.arange(-200.0, 150.0, 4.0)


def test_sigmoid_does_not_overflow():
    with np.errstate(all='raise'):
        assert sigmoid([-1e4, 0.0, 1e4]).tolist() == [0, 0.5, 1]
    assert sigmoid(1.3) == pytest.approx(1 / (1 + np.exp(-1.3)))


@pytest.mark.parametrize('level', [-197.0, -31.3, 0.0, 2.0, 140.0])
def test_level_of_an_ideal_curve_is_found_between_slices_in_any_order(level):
    order = np.random.default_rng(0).permutation(len(Z))
    found = find_level(Z[order], (Z - level)[order], 10.0)
    assert found.z == pytest.approx(level, abs=0.5)
    assert found.misfit == pytest.approx(0, abs=1e-3)
    assert not found.outside


@pytest.mark.parametrize('spacing', [3.0, 10.0, 20.0])
def test_spacing_does_not_limit_the_accuracy(spacing):
    z = np.arange(0, 200, spacing)
    for level in (80.0, 83.1, 86.4):
        assert find_level(z, z - level, 10.0).z == pytest.approx(level, abs=0.2)


def test_a_wrong_slice_does_not_move_the_level_far():
    offsets = Z - 20.0
    offsets[np.abs(Z).argmin() + 5] = -60.0  # at 20 mm, where 0 is right
    assert find_level(Z, offsets, 10.0).z == pytest.approx(20, abs=5)


def test_of_several_crossings_the_one_that_fits_the_whole_curve_is_found():
    offsets = Z - 50.0
    offsets[:6] = 30.0  # a few slices of the pelvis resemble slices above the level
    found = find_level(Z, offsets, 10.0)
    assert found.z == pytest.approx(50, abs=0.5)
    # Six of 88 slices have the curve at 0.95 instead of 0.
    assert found.misfit == pytest.approx(6 / 88 * 0.95, abs=2e-3)


def test_densely_spaced_slices_do_not_outweigh_the_rest_of_the_series():
    """40 mm at 1 mm resemble the slices around the level; by number they are most of the series."""
    z = np.concatenate([np.arange(-100.0, -60.0), np.arange(-60.0, 20.0, 5.0)])
    offsets = np.where(z < -60, z + 80, z)
    found = find_level(z, offsets, 10.0)
    assert found.z == pytest.approx(0, abs=0.5)
    assert not found.outside
    # 20 of 120 mm have the curve close to 1 instead of 0.
    wrong = np.abs(sigmoid(offsets / 10) - sigmoid(z / 10))[:40].sum()
    assert found.misfit == pytest.approx(wrong / 120, rel=0.05)


def test_level_where_the_spacing_changes_is_found_as_exactly():
    z = np.concatenate([np.arange(-100.0, 0.0), np.arange(0.0, 101.0, 5.0)])
    for level in (-4.0, 0.0, 3.0):
        assert find_level(z, z - level, 10.0).z == pytest.approx(level, abs=0.3)


def test_repeated_slices_have_no_more_weight():
    offsets = Z + 9 * np.sin(Z)
    times = np.where(abs(Z - 20) < 30, 5, 1)
    once = find_level(Z, offsets, 10.0)
    repeated = find_level(np.repeat(Z, times), np.repeat(offsets, times), 10.0)
    assert repeated.z == pytest.approx(once.z, abs=1e-9)
    assert repeated.misfit == pytest.approx(once.misfit, rel=1e-9)


@pytest.mark.parametrize('spacing', [4.0, 5.0])
@pytest.mark.parametrize(('end', 'outwards'), [(0, -1), (-1, 1)])
def test_level_half_a_slice_beyond_an_end_is_outside_and_put_at_that_end(end, outwards, spacing):
    z = np.arange(-200.0, 150.0, spacing)
    for distance, outside in ((0.1, False), (1.9, False), (2.6, True), (300.0, True)):
        found = find_level(z, z - (z[end] + outwards * distance), 10.0)
        assert (found.z, found.outside) == (z[end], outside)
    for distance in (0.0, 0.1, 1.0):
        level = z[end] - outwards * distance
        found = find_level(z, z - level, 10.0)
        assert found.z == pytest.approx(level, abs=0.2)
        assert not found.outside


def test_rounding_does_not_put_a_crossing_beyond_the_last_slice():
    z = np.array([-32.5, -14.6, 4.6, 22.7])
    assert z[2] + (z[3] - z[2]) > z[3]
    found = find_level(z, [-75.0, -57.0, -38.0, 0.0], 20.0)
    assert (found.z, found.outside) == (z[3], False)


def test_level_outside_is_found_despite_a_few_slices_that_resemble_it():
    z = np.arange(0, 325.0, 5.0)
    offsets = z + 4.0  # the level is 4 mm below the series
    offsets[[40, 41]] = -20.0
    found = find_level(z, offsets, 10.0)
    assert (found.z, found.outside) == (0, True)


def test_end_is_inside_if_the_curve_of_its_slice_reaches_the_level():
    """The rest of the curve fits best with the level 3 mm below the end, the end slice does not."""
    offsets = Z - Z[0] + 3.0
    offsets[0] = -1.0
    found = find_level(Z, offsets, 10.0)
    assert (found.z, found.outside) == (Z[0], False)


@pytest.mark.parametrize('slices', [1, 3])
def test_level_in_a_series_of_one_position_is_inside_within_half_a_slice(slices):
    z = np.full(slices, 7.0)
    for offset, outside in ((20.0, True), (0.5, False), (-20.0, True)):
        found = find_level(z, np.full(slices, offset), 10.0)
        assert (found.z, found.outside) == (7.0, outside)
        assert found.misfit == pytest.approx(abs(sigmoid(offset / 10) - 0.5))


def test_noise_moves_the_level_little_and_raises_the_misfit():
    noise = np.random.default_rng(0).normal(size=len(Z))
    misfits = []
    for sd in (0, 3, 10):
        found = find_level(Z, Z - 30.0 + sd * noise, 10.0)
        assert found.z == pytest.approx(30, abs=1 + sd)
        assert not found.outside
        misfits.append(found.misfit)
    assert misfits == sorted(set(misfits))


@pytest.mark.parametrize('offset', [np.nan, np.inf])
def test_offsets_that_are_not_finite_give_no_position(offset):
    found = find_level(Z, np.where(Z == 0, offset, Z), 10.0)
    assert np.isnan([found.z, found.misfit]).all()
    assert found.outside


LEVELS = ('T12', 'L1', 'L2', 'L3', 'L4', 'L5')
SPINE = dict(zip(LEVELS, (118.0, 87.0, 54.0, 19.0, -17.0, -54.0), strict=True))


def offsets_of_spine(z, **shifted):
    """`[N, 6]` mm; some levels are predicted elsewhere."""
    return np.asarray(z)[:, None] - np.array(list({**SPINE, **shifted}.values()))


def test_a_level_that_is_taken_for_its_neighbour_is_put_right():
    found = find_levels(Z, offsets_of_spine(Z, L3=SPINE['L2']), LEVELS, 10.0)
    assert find_level(Z, Z - SPINE['L2'], 10.0).z == pytest.approx(SPINE['L2'], abs=0.1)
    assert found['L3'].z == pytest.approx(SPINE['L3'], abs=5)
    assert found['L3'].misfit > 0.05
    for level in ('L1', 'L2', 'L4'):
        assert found[level].z == pytest.approx(SPINE[level], abs=3)


def test_levels_that_agree_are_where_they_are_alone():
    z = np.random.default_rng(0).permutation(Z)
    for level, position in find_levels(z, offsets_of_spine(z), LEVELS, 10.0).items():
        assert position.z == pytest.approx(SPINE[level], abs=1)
        assert position.misfit < 0.01
        assert not position.outside


def test_the_errors_of_levels_even_out_in_a_spine():
    noise = np.random.default_rng(0)
    alone, together = [], []
    for _ in range(20):
        offsets = offsets_of_spine(
            Z, **{level: mm + 8 * noise.normal() for level, mm in SPINE.items()}
        )
        together.append(find_levels(Z, offsets, LEVELS, 10.0)['L3'].z - SPINE['L3'])
        alone.append(find_level(Z, offsets[:, 3], 10.0).z - SPINE['L3'])
    assert np.abs(together).mean() < 0.7 * np.abs(alone).mean()


def test_where_the_spine_says_that_a_level_is_outside_it_is_outside():
    z = np.arange(40.0, 160.0, 5.0)
    found = find_levels(z, offsets_of_spine(z, L3=60.0), LEVELS, 10.0)
    assert found['L3'].outside
    assert found['L3'].z == 40


@pytest.mark.parametrize('levels', [LEVELS, LEVELS[2:5]])
@pytest.mark.parametrize('height', [20.0, 28.0, 42.0])
def test_vertebrae_that_are_clear_to_see_are_as_high_as_they_are(levels, height):
    places = {level: 100.0 - height * i for i, level in enumerate(levels)}
    offsets = Z[:, None] - np.array([*places.values()])
    for level, position in fit_spine(Z, offsets, levels, 10.0).items():
        assert position.z == pytest.approx(places[level], abs=2.5)


def test_vertebrae_that_the_slices_leave_open_are_as_high_as_those_of_adults():
    offsets = offsets_of_spine(Z)
    offsets[:, 2:] = 0.0  # from L2 on the network says nothing
    offsets[:, 0] = 0.0
    found = fit_spine(Z, offsets, LEVELS, 10.0)
    assert found['L1'].z == pytest.approx(SPINE['L1'], abs=1)
    assert found['L1'].z - found['L2'].z == pytest.approx(33, abs=2)
    assert found['L1'].z - found['L4'].z == pytest.approx(103, abs=5)


@pytest.mark.parametrize('beyond', [-400.0, 400.0])
def test_a_spine_far_outside_is_outside(beyond):
    for position in find_levels(Z, offsets_of_spine(Z + beyond), LEVELS, 10.0).values():
        assert position.outside
        assert position.z == (Z[-1] if beyond < 0 else Z[0])


@pytest.mark.parametrize('levels', [('L3', 'L1'), ('L3', 'C7', 'level_0')])
def test_few_levels_are_no_spine(levels):
    offsets = np.stack([Z - 10.0] * len(levels), 1)
    assert fit_spine(Z, offsets, levels, 10.0) == {}
    for position in find_levels(Z, offsets, levels, 10.0).values():
        assert position == find_level(Z, Z - 10.0, 10.0)


def test_the_spine_is_nowhere_if_an_offset_is_not_finite():
    offsets = offsets_of_spine(Z)
    offsets[3, 1] = np.nan
    assert fit_spine(Z, offsets, LEVELS, 10.0) == {}
    assert np.isnan(find_levels(Z, offsets, LEVELS, 10.0)['L1'].z)
