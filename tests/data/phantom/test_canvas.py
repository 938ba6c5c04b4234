"""Shapes on the canvas: areas, mixed borders, labels."""

import numpy as np
import pytest
from phantoms import plain_subject

from bodycomp_jax.data.phantom import texture
from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.curves import ANGLES, Ellipsoid
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.tissue import AIR, GAS, MUSCLE_LABEL, SOFT, Tissue

MUSCLE = Tissue(55, MUSCLE_LABEL)

PIXEL = 2.0
SIDE = 210
HEIGHT = 2.0  # t


@pytest.fixture
def canvas():
    return Canvas(SIDE, Cut(plain_subject(bend=0.0), HEIGHT), PIXEL * SIDE)


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


def test_one_of_a_pair_is_larger_in_those_who_are_lopsided():
    canvas = Canvas(SIDE, Cut(plain_subject(bend=0.0, lopsided=0.1), HEIGHT), PIXEL * SIDE)
    canvas.pair(40, 10, 20, 10, MUSCLE)
    left, right = (
        (canvas.hu - AIR.hu)[:, side].sum() for side in (canvas.x[0] < 0, canvas.x[0] > 0)
    )
    assert right / left == pytest.approx((1.05 / 0.95) ** 2, rel=0.02)


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
    middle = Ellipsoid(0, 10, HEIGHT, 40, 40, 1.0, SOFT, gas=5.0)
    canvas.hollow(middle, MUSCLE, 4, within=np.ones((SIDE, SIDE), np.float32))
    distance = np.hypot(canvas.x, canvas.y - 10)
    inside, ring = distance < 34, (distance > 37) & (distance < 39)
    assert (canvas.hu[inside & (canvas.y < 5 - PIXEL)] == GAS.hu).all()
    assert (canvas.hu[inside & (canvas.y > 5 + PIXEL)] == SOFT.hu).all()
    assert (canvas.labels[ring] == MUSCLE.label).all()
    assert middle.scale(HEIGHT) == 1
    assert middle.scale(HEIGHT + 0.6) == pytest.approx(0.8)
    assert middle.scale(HEIGHT - 1.5) == 0


@pytest.mark.parametrize('turn, slant', [(0.0, 0.0), (0.5, 40.0)])
def test_outside_and_inside_of_an_ellipsoid_make_the_whole(canvas, turn, slant):
    organ = Ellipsoid(5, 5, HEIGHT + 0.3, 50, 30, 1.0, MUSCLE, turn, slant)
    canvas.ellipsoid(organ)
    inside = (canvas.hu - AIR.hu) / (MUSCLE.hu - AIR.hu)
    np.testing.assert_allclose(inside + canvas.outside(organ), 1, atol=1e-5)


def test_a_square_ellipse_reaches_into_its_corners(canvas):
    canvas.ellipse(0, 0, 40, 30, MUSCLE, square=True)
    half = np.linspace(0, np.pi / 2, 10001)
    radius = (np.cos(half) ** 4 / 40**4 + np.sin(half) ** 4 / 30**4) ** -0.25
    area = 2 * np.trapezoid(radius**2, half)
    assert painted_mm2(canvas, MUSCLE) == pytest.approx(area, rel=0.03)
    assert area > 1.15 * np.pi * 40 * 30


@pytest.mark.parametrize('y', [2.0, 2.7, 3.0])
def test_a_line_thinner_than_a_pixel_fills_its_share_of_it(canvas, y):
    canvas.stroke(np.array([[-60.0, y], [60.0, y]]), 0.25, MUSCLE)
    assert painted_mm2(canvas, MUSCLE) == pytest.approx(0.5 * 120, rel=0.1)
    assert not canvas.labels.any()


def test_bubbles_make_content_darker_and_uneven(canvas):
    canvas.ellipse(0, 0, 40, 40, SOFT, mottled=300.0)
    inside = canvas.hu[canvas.radius < 36]
    assert (inside <= SOFT.hu).all()
    assert inside.min() < -150
    assert inside.max() == SOFT.hu


def test_bands_are_painted_between_their_outlines(canvas):
    wall = Cut(plain_subject(bend=0.0), HEIGHT).wall
    canvas.bands([(wall, wall - 4), (wall - 6, wall - 8)], MUSCLE)
    depth = wall[canvas.angle] - canvas.radius
    assert (canvas.labels[(depth > 1) & (depth < 3)] == MUSCLE_LABEL).mean() > 0.95
    assert (canvas.hu[(depth < -1.1) | (depth > 9.1)] == AIR.hu).all()
    assert canvas.hu[(depth > 4.8) & (depth < 5.2)].max() < -300


def test_bands_thinner_than_a_pixel_are_as_much_of_it_as_they_cover(canvas):
    wall = Cut(plain_subject(bend=0.0), HEIGHT).wall
    perimeter = np.hypot(*np.diff((wall - 4) * [np.cos(ANGLES), np.sin(ANGLES)])).sum()
    canvas.bands([(wall - 4, wall - 4.5), (wall - 9, wall - 9)], MUSCLE)
    assert painted_mm2(canvas, MUSCLE) == pytest.approx(0.5 * perimeter, rel=0.2)
    assert not canvas.labels.any()


def test_textures_are_the_same_noise_by_window_and_by_pixel_and_differ_by_layer(canvas):
    window = slice(10, 30), slice(50, 90)
    pixels = np.flatnonzero(np.ones((SIDE, SIDE)))
    whole = canvas.texture(texture.FINE, pixels).reshape(SIDE, SIDE)
    np.testing.assert_array_equal(canvas.texture(texture.FINE, window), whole[window])
    other = canvas.texture(texture.FINE, pixels, 1).reshape(SIDE, SIDE)
    assert abs(np.corrcoef(whole.ravel(), other.ravel())[0, 1]) < 0.1


def test_bends_move_what_is_painted_and_keep_its_area():
    areas = []
    for bend in (0.0, 4.0):
        canvas = Canvas(SIDE, Cut(plain_subject(bend=bend), HEIGHT), PIXEL * SIDE)
        canvas.ellipse(20, 10, 50, 40, MUSCLE)
        areas.append(painted_mm2(canvas, MUSCLE))
    assert areas[0] != areas[1]
    assert areas[0] == pytest.approx(areas[1], rel=0.15)
