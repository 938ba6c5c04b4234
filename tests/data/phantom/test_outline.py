"""Outlines of the body: skin around fat around the wall, and what changes each of them."""

from itertools import pairwise

import numpy as np
import pytest
from phantoms import plain_subject

from bodycomp_jax.data import phantom
from bodycomp_jax.data.phantom.curves import ANGLES, BACK, FROM_FRONT, FRONT, RIGHT
from bodycomp_jax.data.phantom.outline import LAYERS, RIBS_BEND, SKIN_MM
from bodycomp_jax.data.phantom.subject import Subject

L3 = 2.0


def outline(seed=0, t=L3, **given):
    return plain_subject(seed, **given).outlines.at(t)


def fat(outline):
    return outline.skin - SKIN_MM - outline.wall


def thickness(outline, layer):
    outer, inner = outline.bands[list(LAYERS).index(layer)]
    return outer - inner


def test_skin_surrounds_the_wall_and_the_wall_the_cavity_in_everybody():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        subject = Subject(rng, phantom.WIDE.draw_person(rng))
        for t in np.linspace(-4, 8, 9):
            skin, wall, cavity, diaphragm, bands = subject.outlines.at(t)
            assert (skin - wall > SKIN_MM).all()
            assert (wall > cavity).all()
            assert (cavity > 25).all()
            edges = [wall, *(edge for band in bands for edge in band), diaphragm, cavity]
            assert (np.diff(edges, axis=0) <= 1e-9).all()


def test_the_diaphragm_lines_the_wall_above_l3():
    for t, lined in ((1.5, False), (4.5, True)):
        at = outline(t=t)
        assert np.all(at.diaphragm - at.cavity > 1) == lined
        assert np.all(at.diaphragm == at.cavity) != lined


def test_fat_is_thick_at_the_flank_and_thin_over_the_spine():
    one = outline(
        fat=20.0, fat_front=1.0, fat_flank=2.0, fat_spine=0.2, fat_uneven=0.0, flattened=0.0
    )
    flank = np.abs(FROM_FRONT - 2.2).argmin()
    assert fat(one)[flank] == pytest.approx(40, rel=0.2)
    assert fat(one)[BACK] < 12


def test_the_couch_presses_the_fat_below_it_flat():
    free, flat = (outline(fat=30.0, flattened=share) for share in (0.0, 0.7))
    front = np.sin(ANGLES) < 0
    np.testing.assert_array_equal(free.skin[front], flat.skin[front])
    lowest = [(one.skin * np.sin(ANGLES)).max() for one in (free, flat)]
    assert lowest[1] < lowest[0] - 5
    np.testing.assert_array_equal(free.wall, flat.wall)
    on_couch = [
        (one.skin * np.sin(ANGLES) > low - 1).sum()
        for one, low in zip((free, flat), lowest, strict=True)
    ]
    assert on_couch[1] > 2 * on_couch[0]


def test_folds_cut_into_the_fat():
    smooth, folded = (outline(folds=depth, fat=25.0) for depth in (0.0, 12.0))
    depth = smooth.skin - folded.skin
    assert (depth >= -1e-9).all()
    assert 8 < depth.max() <= 12.1
    assert (depth < 1).mean() > 0.3


def test_breasts_are_in_front_of_the_chest_alone():
    chest, lumbar = (
        outline(t=t, breasts=40.0, flattened=0.0).skin - outline(t=t, flattened=0.0).skin
        for t in (7.5, L3)
    )
    assert chest.max() > 25
    assert chest[BACK] < 0.1
    assert np.abs(lumbar).max() < 1e-9


def test_fat_is_thicker_at_the_hips_where_a_person_has_it_there():
    thin, wide = (outline(t=-2.0, fat_hips=factor) for factor in (0.9, 2.0))
    assert fat(wide)[RIGHT] == pytest.approx(fat(thin)[RIGHT] * 2.0 / 0.9, rel=0.1)


def test_the_wall_has_no_step_around_the_body():
    for seed in range(20):
        outline = phantom.trunk._draw_subject(seed, phantom.WIDE)[0].outlines.at(L3)
        assert np.abs(np.diff(outline.wall)).max() < 1.5
        assert np.abs(np.diff(outline.wall, 2)).max() < 0.3  # its corners are round


def test_wasted_muscle_is_thin():
    strong, wasted = (outline(muscle=factor) for factor in (1.2, 0.6))
    for layer in LAYERS:
        assert thickness(wasted, layer).max() == pytest.approx(
            0.5 * thickness(strong, layer).max(), rel=0.02
        )


def test_the_linea_alba_parts_the_rectus():
    for width in (4.0, 40.0):
        one = outline(diastasis=width)
        rectus = thickness(one, 'rectus abdominis')
        near = FROM_FRONT < 0.35
        gap = np.ptp((ANGLES * one.wall[FRONT])[near & (rectus < 1)])
        assert gap == pytest.approx(width, abs=8)


def test_between_the_layers_is_as_much_fat_as_a_person_has():
    for planes in (0.2, 3.0):
        bands = outline(planes=planes).bands[2:]
        gaps = [inner[RIGHT] - outer[RIGHT] for (_, inner), (outer, _) in pairwise(bands)]
        assert np.mean(gaps) == pytest.approx(planes, rel=0.8)


def test_latissimus_is_at_the_back_of_the_chest_and_the_rectus_ends_below_it():
    loin, chest = (outline(t=t) for t in (0.0, 7.0))
    assert (
        thickness(loin, 'latissimus dorsi').max() < 0.5 < thickness(chest, 'latissimus dorsi').max()
    )
    at = thickness(chest, 'latissimus dorsi').argmax()
    assert np.sin(ANGLES[at]) > 0.5
    assert thickness(outline(t=8.5), 'rectus abdominis').max() < 0.1


def test_everything_is_smooth_along_the_body():
    subject = plain_subject(3)
    for t in np.linspace(-4, 8, 25):
        steps = [
            np.abs(a - b).max()
            for a, b in zip(
                subject.outlines.at(t)[:3], subject.outlines.at(t + 0.02)[:3], strict=True
            )
        ]
        assert max(steps) < 4


def test_ribs_cross_the_back_in_front_of_muscle_in_the_chest_alone():
    for t, crossed in ((2.0, False), (6.5, True)):
        at = outline(t=t)
        outer, inner = at.bands[-1]
        assert ((outer - inner).max() > 5) == crossed
        assert (at.wall[BACK] - at.diaphragm[BACK] > 15) == crossed
        x, y = at.diaphragm * np.cos(ANGLES), at.diaphragm * np.sin(ANGLES)
        beside = np.abs(ANGLES - np.pi / 2) < np.radians(30)
        bent = np.abs(y - y[BACK] - RIBS_BEND * np.abs(x))[beside]
        assert (bent.max() < 1) == crossed


def test_behind_the_ribs_wasted_muscle_is_fat():
    strong, wasted = (outline(t=6.5, muscle=muscle).bands[-1] for muscle in (1.2, 0.6))
    assert np.ptp(np.subtract(*wasted)) < 0.7 * np.ptp(np.subtract(*strong))
