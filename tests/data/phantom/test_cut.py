"""A subject at one height: where its spine and the couch are, and how it is bent."""

import numpy as np
import pytest
from phantoms import plain_subject

from bodycomp_jax.data.phantom.curves import BACK
from bodycomp_jax.data.phantom.cut import Cut

AXIS = np.linspace(-150, 150, 61).astype(np.float32)


def test_the_couch_is_level():
    for seed in range(5):
        subject = plain_subject(seed, fat_hips=2.0, belly=0.3)
        heights = [cut.centre[1] + cut.couch_y for cut in (Cut(subject, t) for t in range(-4, 9))]
        np.testing.assert_allclose(heights, heights[0])


def test_nothing_of_the_body_is_below_the_couch():
    for seed in range(5):
        cuts = [Cut(plain_subject(seed), t) for t in range(-4, 9)]
        assert all(cut.couch_y >= cut.skin[BACK] - 1e-9 for cut in cuts)


def test_the_spine_is_in_front_of_the_muscles_of_the_back_which_are_thin_where_they_are_wasted():
    behind = {}
    for muscle in (0.6, 1.2):
        cut = Cut(plain_subject(muscle=muscle), 2.0)
        behind[muscle] = cut.wall[BACK] - cut.spine_y
    assert 40 < behind[0.6] < behind[1.2] - 5 < 85


def test_the_straight_body_is_not_displaced():
    x, y = Cut(plain_subject(bend=0.0), 2.0).bent(AXIS, AXIS)
    np.testing.assert_array_equal(x, np.broadcast_to(AXIS, x.shape))
    np.testing.assert_array_equal(y, np.broadcast_to(AXIS[:, None], y.shape))


def test_bends_are_smooth_and_stay_within_the_displacement():
    cut = Cut(plain_subject(bend=4.0, scoliosis=12.0), 2.0)
    x, y = cut.bent(AXIS, AXIS)
    moved = np.hypot(x - AXIS, y - AXIS[:, None])
    assert 2 < moved.max() < cut.displacement * 2**0.5
    assert np.diff(x, axis=1).min() > 0 and np.diff(y, axis=0).min() > 0


def test_scoliosis_bends_the_spine_and_leaves_the_sides():
    bent, straight = (
        [Cut(plain_subject(scoliosis=mm), t).bent(AXIS, AXIS)[0] for t in range(9)]
        for mm in (12.0, 0.0)
    )
    sideways = np.array([(b - s)[30] for b, s in zip(bent, straight, strict=True)])
    assert np.ptp(sideways[:, 30]) == pytest.approx(24, abs=6)
    assert np.abs(sideways[:, 0]).max() < 2
