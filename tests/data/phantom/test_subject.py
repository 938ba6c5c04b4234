"""Subjects: their heights, outlines, and the curves that these are made of."""

import numpy as np
import pytest

from bodycomp_jax.data.phantom.scanner import Scanner
from bodycomp_jax.data.phantom.subject import ANGLES, Cut, Subject, profile, wave


@pytest.fixture(scope='module')
def subjects():
    return [Subject(np.random.default_rng(seed)) for seed in range(20)]


def test_heights_and_vertebrae_are_each_others_inverse(subjects):
    t = np.linspace(-4, 8, 30)
    for subject in subjects:
        np.testing.assert_allclose([subject.t(subject.z(x)) for x in t], t, atol=1e-9)


def test_skin_surrounds_the_wall_and_the_wall_the_cavity(subjects):
    for subject in subjects:
        for t in np.linspace(-4, 8, 13):
            skin, wall, cavity = subject.outline(t)
            assert (skin - wall > 2).all()
            assert (wall > cavity).all()
            assert (cavity > 50).all()


def test_lumbar_slices_are_within_the_plain_field_of_view(subjects):
    for subject in subjects:
        for t in range(5):
            cut = Cut(subject, t)
            x = cut.centre[0] + np.array([-1, 1]) * cut.skin[[0, 512]]
            y = cut.centre[1] + np.array([-1, 1]) * cut.skin[[256, 768]]
            assert (np.abs([x, y]) < Scanner().field_of_view / 2).all()


def test_the_couch_is_level(subjects):
    for subject in subjects:
        heights = [cut.centre[1] + cut.couch_y for cut in (Cut(subject, t) for t in range(-4, 9))]
        np.testing.assert_allclose(heights, heights[0])


def test_a_profile_is_smooth_and_keeps_to_its_knots():
    knots = {0: 1.0, 2: 3.0, 4: 3.0}
    assert profile(-3, knots) == 1
    assert profile(1, knots) == pytest.approx(2)
    assert profile(9, knots) == 3
    assert profile(2, knots) == pytest.approx(3, abs=0.3)


def test_a_wave_is_periodic_has_zero_mean_and_its_amplitude():
    waves = np.array([wave(np.random.default_rng(seed), 0.1) for seed in range(300)])
    np.testing.assert_allclose(waves[:, 0], waves[:, -1], atol=1e-12)
    np.testing.assert_allclose(waves[:, :-1].mean(1), 0, atol=1e-12)
    assert len(ANGLES) == waves.shape[1]
    expected = 0.1 * np.sqrt(sum(1 / k**2 for k in range(1, 5)))
    assert waves.std() == pytest.approx(expected, rel=0.1)
