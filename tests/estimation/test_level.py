"""Levels from few slices."""

import fake_scans
import numpy as np
import pytest
from fake_networks import FakeSelector

from bodycomp_jax import ct, vertebrae
from bodycomp_jax.estimation.level import confidence, find_levels
from bodycomp_jax.vertebrae import LevelPosition, find_level

RNG = np.random.default_rng(0)
POSITIONS = {
    '1 mm': np.arange(-150, 151),
    '5 mm': np.arange(-300, 200, 5),
    '20 mm': np.arange(-200, 201, 20),
    'a gap': np.concatenate([np.arange(-120, -20, 3), np.arange(12, 130, 3)]),
    'uneven': np.unique(RNG.integers(-200, 300, 90)),
    'one': np.array([7]),
    'two': np.array([-7, 9]),
}


def full_scan(selector, z, level):
    offsets = np.stack([np.full((2, 2), mm) for mm in z])
    column = selector.config.levels.index(level)
    return find_level(z, selector(offsets)[:, column], selector.config.threshold)


@pytest.mark.parametrize('noise', [0.0, 4.0])
@pytest.mark.parametrize('at', [-140.0, -70.3, 0.0, 1.5, 110.0, 400.0, -900.0])
@pytest.mark.parametrize('name', POSITIONS)
def test_the_answer_is_that_of_all_slices(name, at, noise):
    z = POSITIONS[name]
    selector = FakeSelector({'T12': at + 90, 'L3': at}, noise=noise)
    curves, _ = find_levels(selector, fake_scans.series(z), ['L3', 'T12'])
    for level in ('L3', 'T12'):
        position, wanted = curves[level].position, full_scan(selector, z, level)
        assert position.z == pytest.approx(wanted.z, abs=1e-6)
        assert position.outside == wanted.outside
        assert position.misfit == pytest.approx(wanted.misfit, abs=0.02)


@pytest.mark.parametrize('name', POSITIONS)
def test_a_spine_is_where_its_slices_place_it(name):
    z = POSITIONS[name]
    selector = FakeSelector({'L1': 80.0, 'L2': 44.0, 'L3': 44.0, 'L4': -30.0}, noise=3.0)
    offsets = selector(np.stack([np.full((2, 2), mm) for mm in np.sort(z)]))
    wanted = vertebrae.find_levels(np.sort(z), offsets, selector.config.levels, 10.0)
    curves, _ = find_levels(selector, fake_scans.series(z), ['L3'])
    assert curves['L3'].position.z == pytest.approx(wanted['L3'].z, abs=1e-6)
    assert curves['L3'].position.outside == wanted['L3'].outside


@pytest.mark.parametrize(('name', 'share'), [('1 mm', 0.3), ('5 mm', 0.5)])
def test_it_sees_a_fraction_of_the_slices(name, share):
    selector = FakeSelector({'L3': -20.0})
    z = POSITIONS[name]
    curves, _ = find_levels(selector, fake_scans.series(z), ['L3'])
    curve = curves['L3']
    assert selector.seen < share * len(z)
    assert len(curve.z) == len(curve.offsets) == selector.seen
    np.testing.assert_allclose(curve.offsets, curve.z + 20)


def test_a_spine_needs_few_slices():
    selector = FakeSelector({'L1': 80.0, 'L2': 44.0, 'L3': 8.0, 'L4': -30.0})
    z = POSITIONS['1 mm']
    curves, _ = find_levels(selector, fake_scans.series(z), ['L3'])
    assert curves['L3'].position.z == pytest.approx(8, abs=1)
    assert selector.seen <= 0.25 * len(z)


def test_slices_that_are_not_square_are_padded():
    selector = FakeSelector({'L3': 12.0})
    series = fake_scans.series(POSITIONS['5 mm'], shape=(6, 9))
    curves, _ = find_levels(selector, series, ['L3'])
    assert curves['L3'].position.z == pytest.approx(12, abs=0.1)


def test_slices_that_were_seen_are_kept_in_small():
    def hu(i):
        return np.full((300, 520), i, np.int16)

    series = fake_scans.series(np.arange(0, 150, 5), hu=hu, shape=(300, 520))
    curves, seen = find_levels(FakeSelector({'L3': 12.0}), series, ['L3'])
    assert seen.grey.shape == (len(curves['L3'].z), 174, 174)
    assert seen.pixel == 30
    np.testing.assert_array_equal(seen.z, curves['L3'].z)
    np.testing.assert_allclose(seen.grey.max((1, 2)), ct.window(seen.z / 5), atol=1)


def test_offsets_that_are_not_finite_put_the_level_nowhere():
    selector = FakeSelector({'L3': np.nan})
    curves, _ = find_levels(selector, fake_scans.series(POSITIONS['5 mm']), ['L3'])
    position = curves['L3'].position
    assert position.outside
    assert np.isnan(position.z)
    assert confidence(position) == 0


def test_confidence_is_in_the_form_of_the_curve():
    assert confidence(LevelPosition(0.0, 0.0, False)) == 1
    assert confidence(LevelPosition(0.0, 0.5, False)) == 0
    assert confidence(LevelPosition(0.0, 0.9, False)) == 0
