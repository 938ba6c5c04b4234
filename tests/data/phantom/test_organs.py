"""Painted organs: layers of the body, kidneys, vessels, fluid, lungs, and what has no label."""

from itertools import pairwise

import numpy as np
import pytest
from phantoms import mm2, paint, plain_subject, without

from bodycomp_jax.data.phantom import organs
from bodycomp_jax.data.phantom.tissue import (
    AIR,
    FLUID,
    GAS,
    MUSCLE_LABEL,
    SUBCUTANEOUS_LABEL,
    VISCERAL_LABEL,
    Tissues,
)

L3, T9 = 2.0, 8.0


def test_layers_lie_in_each_other_and_skin_has_no_label():
    subject = plain_subject(fat=20.0)
    canvas, cut = paint(subject, L3, [organs.paint_layers], side=420)
    skin = (canvas.in_skin >= 1) & (canvas.in_fat <= 0)
    assert skin.any() and not canvas.labels[skin].any()
    fat = (canvas.in_fat >= 1) & (canvas.in_wall <= 0)
    assert (canvas.labels[fat] == SUBCUTANEOUS_LABEL).all()
    between_muscles = (canvas.y > cut.spine_y + 35) & (np.abs(canvas.x) < 50)
    assert not canvas.labels[(canvas.in_cavity >= 1) & between_muscles].any()
    before = (canvas.in_cavity >= 1) & (canvas.y < cut.spine_y)
    assert (canvas.labels[before] == VISCERAL_LABEL).all()
    wall = canvas.labels[(canvas.in_wall >= 1) & (canvas.in_cavity <= 0)]
    assert set(np.unique(wall)) == {0, MUSCLE_LABEL}
    assert (wall == MUSCLE_LABEL).mean() > 0.5


def test_organs_bowel_and_vessels_take_the_label_of_the_fat_that_they_displace():
    subject = plain_subject(4)
    fat, _ = paint(subject, L3, [organs.paint_layers])
    for painter in (organs.paint_bowel, organs.paint_organs, organs.paint_vessels):
        canvas, _ = paint(subject, L3, [organs.paint_layers, painter])
        changed = (canvas.labels != fat.labels) & (fat.labels == VISCERAL_LABEL)
        assert mm2(canvas, changed) > 300
        assert not canvas.labels[changed & (canvas.hu > -50)].any()
        assert not canvas.labels[changed & (canvas.hu < -200)].any()


def test_organs_are_brighter_with_contrast_agent():
    plain, enhanced = (
        paint(plain_subject(enhancement=share, phase=0.6), 3.8)[0] for share in (0.0, 1.0)
    )
    assert mm2(plain, enhanced.hu - plain.hu > 60) > 500
    np.testing.assert_array_equal(plain.hu == GAS.hu, enhanced.hu == GAS.hu)


@pytest.mark.parametrize(('share', 'label'), [(0.9, VISCERAL_LABEL), (0.1, 0)])
def test_fat_of_the_renal_sinus_is_visceral_where_it_prevails(share, label):
    subject = plain_subject(sinus_fat=share, renal_capsule=0.0)
    right = subject.abdomen.kidneys[0]
    canvas, _ = paint(subject, right.t, [organs.paint_layers, organs.paint_organs], side=420)
    scale = 0.9
    near = (
        np.hypot((canvas.x - right.x) / (scale * right.a), (canvas.y - right.y) / (scale * right.b))
        < 1
    )
    assert (canvas.labels[near] == 0).any()
    assert (canvas.labels[near] == VISCERAL_LABEL).any() == (label == VISCERAL_LABEL)
    sinus = Tissues.of(subject.person).renal_sinus
    assert sinus.label == label
    assert (np.abs(canvas.hu[near] - sinus.hu) < 1).any()


def test_a_kidney_lies_in_as_much_fat_as_the_person_has():
    painters = [organs.paint_layers, organs.paint_organs]
    thin, thick = (
        paint(plain_subject(renal_capsule=mm), 3.8, painters, side=420)[0] for mm in (0.1, 2.5)
    )
    more = (thick.labels == VISCERAL_LABEL) & (thin.labels != VISCERAL_LABEL)
    assert mm2(thick, more) > 10
    assert not ((thin.labels == VISCERAL_LABEL) & (thick.labels != VISCERAL_LABEL)).any()


def test_pyramids_are_darker_than_the_cortex_between_them():
    subject = plain_subject(enhancement=1.0, phase=0.0)
    tissues = Tissues.of(subject.person)
    kidney = subject.abdomen.kidneys[0]
    canvas, _ = paint(subject, kidney.t, [organs.paint_layers, organs.paint_organs], side=420)
    angles = np.linspace(0, 2 * np.pi, 300)
    u, v = 0.57 * kidney.a * np.cos(angles), 0.57 * kidney.b * np.sin(angles)
    cos, sin = np.cos(kidney.turn), np.sin(kidney.turn)
    x, y = kidney.x + u * cos - v * sin, kidney.y + u * sin + v * cos
    around = canvas.hu[np.searchsorted(canvas.rows, y), np.searchsorted(canvas.columns, x)]
    assert tissues.renal_medulla.hu < tissues.renal_cortex.hu - 100
    middle = (tissues.renal_medulla.hu + tissues.renal_cortex.hu) / 2
    parts = np.flatnonzero(np.diff(around > middle))
    assert len(parts) >= 6


def test_vessels_of_the_liver_are_inside_it():
    subject = plain_subject(enhancement=1.0, phase=0.6, liver_hu=40.0)
    blood = Tissues.of(subject.person).venous_blood
    lobe = subject.abdomen.liver[0]
    canvas, _ = paint(subject, lobe.t, [organs.paint_layers, organs.paint_organs], side=420)
    vessels = (np.abs(canvas.hu - blood.hu) < 1) & (canvas.x < 0)
    assert 30 < mm2(canvas, vessels) < 3000
    assert (canvas.outside(lobe)[vessels] < 0.5).all()


def test_the_renal_fascia_is_a_line_around_the_kidney():
    painters = [organs.paint_layers, organs.paint_organs]
    with_line, bare = (
        paint(plain_subject(renal_fascia=mm, renal_fat=14.0), 3.8, painters, side=420)[0]
        for mm in (1.0, 0.0)
    )
    brighter = with_line.hu - bare.hu > 15
    assert 50 < mm2(with_line, brighter) < 1000
    assert np.median(with_line.hu[brighter]) < -20


def test_ascites_is_fluid_along_the_wall_and_has_no_label():
    dry, wet = (paint(plain_subject(ascites=mm), L3)[0] for mm in (0.0, 30.0))
    filled = (dry.labels == VISCERAL_LABEL) & (wet.labels == 0) & (np.abs(wet.hu - FLUID.hu) < 1)
    assert mm2(wet, filled) > 400
    assert (wet.labels != VISCERAL_LABEL)[filled].all()


def test_lumps_are_in_the_abdomen_alone():
    canvas, _ = paint(plain_subject(masses=40.0), 3.0, [organs.paint_masses])
    lumps = canvas.hu > AIR.hu
    assert mm2(canvas, lumps) > 300
    assert (canvas.in_cavity[lumps] > 0).all()
    assert not canvas.labels.any()


def blood_mm2(subject, t):
    blood = Tissues.of(subject.person).blood.hu
    canvas, _ = paint(subject, t, [organs.paint_layers, organs.paint_vessels], side=420)
    near = canvas.hu > blood - 20
    return mm2(canvas, near & (canvas.x > 0)), mm2(canvas, near & (canvas.x < 0))


def test_the_aorta_is_left_of_the_middle_and_forks():
    subject = plain_subject(enhancement=1.0, phase=0.0, calcification=0.0)
    left, right = blood_mm2(subject, 4.0)
    assert left > 150 and right < 0.3 * left
    left, right = blood_mm2(subject, subject.bifurcation - 0.6)
    assert left == pytest.approx(right, rel=0.2) and left > 80


def test_calcifications_are_as_many_as_the_person_has():
    areas = [
        sum(
            mm2(canvas, canvas.hu > 450)
            for t in (1.5, 2.0, 2.5)
            for canvas, _ in [
                paint(plain_subject(calcification=share), t, [organs.paint_vessels], side=420)
            ]
        )
        for share in (0.0, 0.5, 1.0)
    ]
    assert areas[0] == 0 < areas[1] <= areas[2]


def test_lungs_are_in_the_chest_and_their_fat_counts_as_visceral():
    subject = plain_subject()
    painters = [organs.paint_layers, organs.paint_chest]
    chest, _ = paint(subject, T9, painters)
    lung = np.abs(chest.hu + 850) < 1
    assert mm2(chest, lung) > 4000
    assert not chest.labels[lung].any()
    assert (chest.labels[chest.in_cavity >= 1] == VISCERAL_LABEL).any()
    abdomen, _ = paint(subject, L3, painters)
    assert (abdomen.hu[abdomen.in_cavity >= 1] > -200).all()


def test_lungs_reach_to_t12_beside_the_diaphragm_and_deeper_with_a_deep_breath():
    def lung(t, diaphragm):
        canvas, _ = paint(plain_subject(diaphragm=diaphragm), t, [organs.paint_chest], side=280)
        return mm2(canvas, (canvas.hu < -700) & (canvas.in_cavity >= 1) & (canvas.hu > -950))

    heights = np.arange(3.4, 8.1, 0.1)
    deep, usual = ([lung(t, diaphragm) for t in heights] for diaphragm in (-0.6, 0.0))
    assert deep[0] == usual[0] == 0
    assert 0 < usual[18] < deep[18]  # t = 5.2, above the middle of T12
    assert usual[-1] > 20000
    assert np.diff(usual).max() < 2500  # smooth along the body


def test_a_stomach_of_two_parts_has_one_level_of_fluid():
    parts = [s.abdomen.stomach for s in (plain_subject(seed) for seed in range(24))]
    surfaces = [[part.gas for part in both] for both in parts if len(both) == 2]
    assert surfaces and all(a == pytest.approx(b) for a, b in surfaces)


def test_the_part_of_the_stomach_in_front_is_painted():
    subject = next(s for s in map(plain_subject, range(24)) if len(s.abdomen.stomach) == 2)
    part = subject.abdomen.stomach[1]
    canvas, _ = paint(subject, part.t, [organs.paint_layers, organs.paint_organs], side=280)
    near = np.hypot(canvas.x - part.x, canvas.y - part.y) < 3
    assert not canvas.labels[near & (canvas.in_peritoneum >= 1)].any()


def test_the_domes_of_the_diaphragm_rise_into_the_chest():
    subject = plain_subject()
    air = [
        mm2(canvas, np.abs(canvas.hu + 850) < 1)
        for canvas, _ in (
            paint(subject, t, [organs.paint_layers, organs.paint_chest]) for t in (5.5, 7.0, 8.5)
        )
    ]
    assert air[0] < air[1] < air[2]


def test_no_wall_parts_the_loops_of_a_run():
    subject = plain_subject(2, bowel=8.0, gas=0.0, bend=0.0)
    subject.bowel = subject.bowel[:8]
    seen = 0
    for (one, *_), (next_one, *_) in pairwise(subject.bowel):
        x, y, t = ((a + b) / 2 for a, b in zip(one[:3], next_one[:3], strict=True))
        canvas, _ = paint(subject, t, [organs.paint_bowel], side=280)
        between = (np.hypot(canvas.x - x, canvas.y - y) < 3) & (canvas.in_peritoneum >= 1)
        np.testing.assert_allclose(canvas.hu[between], one.tissue.hu, atol=0.01)
        seen += between.sum()
    assert seen > 10


def test_organs_lie_in_ascites():
    def liver_mm2(depth):
        canvas, _ = paint(plain_subject(ascites=depth, liver_hu=70.0, enhancement=0.0), 5.0)
        return mm2(canvas, np.abs(canvas.hu - 70) < 0.5)

    assert liver_mm2(40.0) == pytest.approx(liver_mm2(0.0), rel=0.01)
    assert liver_mm2(0.0) > 2000


def test_the_heart_lies_on_the_diaphragm():
    subject = plain_subject(bend=0.0, diaphragm=0.3)
    canvas, _ = paint(subject, subject.chest.heart.t - 1.8, [organs.paint_chest], side=280)
    heart = np.abs(canvas.hu - subject.tissues.blood.hu) < 0.5
    assert mm2(canvas, heart) > 500
    for dome in subject.chest.domes:
        assert (canvas.outside(dome)[heart] > 0.9).all()


def test_bowel_stays_in_the_cavity():
    subject = plain_subject(2, bowel=240.0)
    full, _ = paint(subject, L3)
    empty, _ = paint(subject, L3, without(organs.paint_bowel))
    outside = full.in_cavity == 0
    np.testing.assert_array_equal(full.hu[outside], empty.hu[outside])
    assert (full.hu != empty.hu).any()
