"""Subjects: their heights, and that they are functions of a seed."""

import numpy as np
import pytest
from phantoms import plain_subject

from bodycomp_jax.data.phantom.subject import LEVELS


@pytest.fixture(scope='module')
def subjects():
    return [plain_subject(seed) for seed in range(10)]


def test_heights_and_vertebrae_are_each_others_inverse(subjects):
    t = np.linspace(-4, 8, 30)
    for subject in subjects:
        np.testing.assert_allclose([subject.t(subject.z(x)) for x in t], t, atol=1e-9)


@pytest.mark.parametrize('vertebra', [31.0, 44.0])
def test_a_subject_has_a_t_at_every_height(vertebra):
    for seed in range(10):
        subject = plain_subject(seed, vertebra=vertebra)
        z = np.linspace(0, subject.top, 30)
        np.testing.assert_allclose([subject.z(subject.t(x)) for x in z], z, atol=1e-9)


@pytest.mark.parametrize('more', [-1.0, 0.0, 1.0])
def test_lumbar_vertebrae_are_counted_down_from_t12(more):
    usual, subject = plain_subject(), plain_subject(lumbar=more)
    assert subject.z(0) == usual.z(0)  # the pelvis stays
    assert subject.levels['T12'] == pytest.approx(subject.z(5))
    assert [subject.v(t) for t in (-4, 0, 4, 5, 8)] == [-4, 0, 4 + more, 5 + more, 8 + more]
    heights = -np.diff(list(subject.levels.values()))
    assert (heights < -15).all() and len(heights) == 8
    above_the_last = np.diff([subject.z(subject.landmark(v)) for v in range(6)]).mean()
    assert (subject.levels['L5'] - subject.z(0)) / above_the_last == pytest.approx(more, abs=0.45)


def test_hips_are_110_mm_below_l5():
    # 107 mm in a patient
    for seed in range(5):
        subject = plain_subject(seed, vertebra=37.5, landmarks=0.0)
        assert subject.z(0) - subject.z(subject.hip) == pytest.approx(110, abs=8)


def test_the_height_of_the_vertebrae_is_that_of_the_person_and_shrinks_upwards():
    for height in (28.0, 39.0):
        subject = plain_subject(vertebra=height)
        heights = np.diff([subject.z(t) for t in range(len(LEVELS))])
        assert heights[0] == pytest.approx(height, rel=0.08)
        assert heights[:3].mean() > heights[-3:].mean()


def test_vertebrae_differ_from_each_other_as_much_as_the_person_says():
    even, uneven = (plain_subject(uneven=factor, lean=2.0) for factor in (0.0, 1.5))
    heights = range(1, 6)
    assert len({even.vertebra(t)[:3] for t in heights}) == 1
    assert len({uneven.vertebra(t) for t in heights}) == len(heights)
    assert even.vertebra(0).width == 1 and even.vertebra(0).arch == even.person.arches
    assert even.vertebra(0).tilt > even.vertebra(2).tilt > even.vertebra(4).tilt  # lordosis


def test_large_people_have_large_bones():
    small, large = (
        plain_subject(vertebra=mm, build=build) for mm, build in ((28, 0.92), (39, 1.08))
    )
    assert large.size > 1.3 * small.size


def test_a_seed_draws_one_subject_and_another_another(subjects):
    again = plain_subject(0)
    assert again.bowel == subjects[0].bowel != subjects[1].bowel
    assert again.abdomen == subjects[0].abdomen != subjects[1].abdomen
    assert again.noise_seed == subjects[0].noise_seed != subjects[1].noise_seed
    np.testing.assert_array_equal(again.bends, subjects[0].bends)


def test_noises_within_tissues_move_along_the_body(subjects):
    low, high = (subjects[0].texture_offsets(t) for t in (1.0, 1.1))
    assert (low != high).all()
    assert len({tuple(offset) for offset in low}) == len(low)
