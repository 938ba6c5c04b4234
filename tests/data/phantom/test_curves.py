"""Curves keep to their knots and are smooth; ellipsoids end where they say."""

import numpy as np
import pytest

from bodycomp_jax.data.phantom.curves import (
    ANGLES,
    BACK,
    FROM_FRONT,
    FRONT,
    LEFT,
    RIGHT,
    Ellipsoid,
    around,
    bump,
    profile,
    smooth_minimum,
    wave,
)
from bodycomp_jax.data.phantom.tissue import SOFT


def test_directions_are_where_their_names_say():
    x, y = np.cos(ANGLES), np.sin(ANGLES)  # y downwards: to the back
    for index, direction in ((RIGHT, (1, 0)), (LEFT, (-1, 0)), (FRONT, (0, -1)), (BACK, (0, 1))):
        np.testing.assert_allclose((x[index], y[index]), direction, atol=1e-12)
    np.testing.assert_allclose(
        FROM_FRONT[[FRONT, RIGHT, LEFT, BACK]], np.pi * np.r_[0, 0.5, 0.5, 1]
    )


def test_an_ellipsoid_is_widest_in_its_middle_and_ends_at_its_height():
    organ = Ellipsoid(0, 0, 2.0, 40, 40, 0.5, SOFT)
    assert organ.scale(2.0) == 1
    assert [organ.scale(2.3), organ.scale(1.7)] == pytest.approx([0.8, 0.8])
    assert organ.scale(2.5) == organ.scale(7) == organ.scale(-7) == 0


def test_a_profile_is_smooth_and_keeps_to_its_knots():
    knots = {0: 1.0, 2: 3.0, 4: 3.0}
    assert profile(-3, knots) == 1
    assert profile(1, knots) == pytest.approx(2)
    assert profile(9, knots) == 3
    assert profile(2, knots) == pytest.approx(3, abs=0.3)
    steps = np.diff([profile(t, {0: 0.0, 0.001: 1.0}) for t in np.linspace(-1, 1, 200)])
    assert steps.max() < 0.3


def test_a_curve_around_keeps_to_its_knots_is_smooth_and_alike_on_both_sides():
    curve = around({0: 1.0, 1.5: 4.0, np.pi: 2.0})
    assert curve.shape == ANGLES.shape
    assert curve[FRONT] == pytest.approx(1, abs=0.2)
    assert curve[BACK] == pytest.approx(2, abs=0.1)
    assert curve[[LEFT, RIGHT]] == pytest.approx(4, abs=0.2)
    assert np.abs(np.diff(around({0: 0.0, 1.0: 0.0, 1.001: 1.0, np.pi: 1.0}))).max() < 0.1
    one_side = np.roll(curve[:-1], -FRONT)[1:]
    np.testing.assert_allclose(one_side, one_side[::-1])


def test_a_smooth_minimum_rounds_where_curves_cross():
    a = np.linspace(-50, 50, 201)
    found = smooth_minimum(a, -a, 10.0)
    sharp = np.minimum(a, -a)
    assert (found <= sharp).all()
    np.testing.assert_allclose(found[np.abs(a) >= 5], sharp[np.abs(a) >= 5])
    assert found[100] == -2.5
    assert np.abs(np.diff(found, 2)).max() < 0.1  # no corner


def test_a_wave_is_periodic_has_zero_mean_and_its_amplitude():
    waves = np.array([wave(np.random.default_rng(seed), 0.1) for seed in range(300)])
    np.testing.assert_allclose(waves[:, 0], waves[:, -1], atol=1e-12)
    np.testing.assert_allclose(waves[:, :-1].mean(1), 0, atol=1e-12)
    assert len(ANGLES) == waves.shape[1]
    expected = 0.1 * np.sqrt(sum(1 / k**2 for k in range(1, 5)))
    assert waves.std() == pytest.approx(expected, rel=0.1)


def test_a_bump_is_one_at_its_angle_on_both_sides():
    curve = bump(np.pi / 2, 0.2)
    np.testing.assert_allclose(curve[[LEFT, RIGHT]], 1)
    assert curve[[FRONT, BACK]].max() < 1e-6
