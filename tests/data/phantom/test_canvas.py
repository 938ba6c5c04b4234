"""Shapes on the canvas: areas, mixed borders, labels."""

import numpy as np
import pytest

from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.subject import Cut, Ellipsoid, Subject
from bodycomp_jax.data.phantom.tissue import AIR, GAS, MUSCLE, SOFT

PIXEL = 2.0
SIDE = 210
HEIGHT = 2.0  # t


@pytest.fixture
def canvas():
    return Canvas(SIDE, Cut(Subject(np.random.default_rng(0)), HEIGHT), PIXEL * SIDE)


def painted_mm2(canvas, tissue):
    """The area of a tissue in air, from its share in the HU of each pixel."""
    return ((canvas.hu - AIR.hu) / (tissue.hu - AIR.hu)).sum() * PIXEL**2


def test_a_filled_share_mixes_hu_and_sets_the_label_from_a_half_on(canvas):
    share = np.zeros((SIDE, SIDE), np.float32)
    share[0, :3] = 0.25, 0.5, 1
    canvas.fill(share, MUSCLE)
    np.testing.assert_allclose(canvas.hu[0, :4], [-736.25, -472.5, 55, -1000])
    np.testing.assert_array_equal(canvas.labels[0, :4], [0, MUSCLE.label, MUSCLE.label, 0])


def test_what_is_painted_over_loses_its_label(canvas):
    canvas.ellipse(0, 0, 40, 40, MUSCLE)
    canvas.ellipse(0, 0, 41, 41, SOFT)
    assert not canvas.labels.any()


@pytest.mark.parametrize('turn', [0, 0.7])
def test_an_ellipse_has_its_area_in_hu_and_in_labels(canvas, turn):
    canvas.ellipse(10, -20, 30, 18, MUSCLE, turn=turn)
    area = np.pi * 30 * 18
    assert painted_mm2(canvas, MUSCLE) == pytest.approx(area, rel=0.03)
    assert (canvas.labels == MUSCLE.label).sum() * PIXEL**2 == pytest.approx(area, rel=0.03)


def test_a_pair_is_symmetric(canvas):
    canvas.pair(40, 10, 20, 10, MUSCLE, turn=0.5)
    right, left = canvas.x[0] > 0, canvas.x[0] < 0
    assert painted_mm2(canvas, MUSCLE) == pytest.approx(2 * np.pi * 20 * 10, rel=0.03)
    sums = [(canvas.hu[:, side] - AIR.hu).sum() for side in (right, left)]
    assert sums[0] == pytest.approx(sums[1], rel=0.02)


def test_a_stroke_has_the_area_of_a_line_with_round_ends(canvas):
    canvas.stroke(np.array([[-30.0, 0.0], [0.0, 0.0], [0.0, 40.0]]), 6, MUSCLE)
    # The corner is counted twice, but for the quarter outside both.
    area = 2 * 6 * 70 + np.pi * 36 - (1 - np.pi / 4) * 36
    assert painted_mm2(canvas, MUSCLE) == pytest.approx(area, rel=0.03)


def test_shapes_stay_within_a_coverage(canvas):
    within = np.zeros((SIDE, SIDE), np.float32)
    within[: SIDE // 2] = 1
    canvas.ellipse(0, 0, 60, 60, MUSCLE, within=within)
    canvas.stroke(np.array([[0.0, -80.0], [0.0, 80.0]]), 5, MUSCLE, within=within)
    assert canvas.labels[: SIDE // 2].any()
    assert (canvas.hu[SIDE // 2 :] == AIR.hu).all()


def test_an_ellipsoid_shrinks_towards_its_ends_and_gas_rises_to_its_front(canvas):
    middle = Ellipsoid(0, 0, HEIGHT, 40, 40, 1.0, SOFT, gas=0.0)
    canvas.hollow(middle, MUSCLE, 4, within=np.ones((SIDE, SIDE), np.float32))
    inside = np.hypot(canvas.x, canvas.y) < 34
    assert (canvas.hu[inside & (canvas.y < -PIXEL)] == GAS.hu).all()
    assert (canvas.hu[inside & (canvas.y > PIXEL)] == SOFT.hu).all()
    ring = (np.hypot(canvas.x, canvas.y) > 37) & (np.hypot(canvas.x, canvas.y) < 39)
    assert (canvas.labels[ring] == MUSCLE.label).all()
    assert middle.scale(HEIGHT) == 1
    assert middle.scale(HEIGHT + 0.6) == pytest.approx(0.8)
    assert middle.scale(HEIGHT - 1.5) == 0


def test_outside_and_inside_of_an_ellipsoid_make_the_whole(canvas):
    organ = Ellipsoid(5, 5, HEIGHT, 50, 30, 1.0, MUSCLE)
    canvas.ellipsoid(organ)
    inside = (canvas.hu - AIR.hu) / (MUSCLE.hu - AIR.hu)
    np.testing.assert_allclose(inside + canvas.outside(organ), 1, atol=1e-5)
