"""The muscles along the spine: where they are, that they are labelled, and how they waste."""

import numpy as np
import pytest
from phantoms import mm2, paint, plain_subject

from bodycomp_jax.data.phantom import muscles, organs
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.tissue import MUSCLE_LABEL


def muscle_of(painter, subject, t):
    """The canvas with this muscle alone, and where it is."""
    canvas, _ = paint(subject, t, [painter], side=280)
    return canvas, canvas.labels == MUSCLE_LABEL


def test_psoas_grows_from_l1_to_l4():
    areas = [mm2(*muscle_of(muscles.paint_psoas, plain_subject(), t)) for t in (5.5, 4, 3, 2, 1)]
    assert areas[0] == 0
    assert (np.diff(areas) > 0).all()
    assert areas[-1] > 3 * areas[1]


def test_psoas_is_beside_the_spine_and_leaves_it_below():
    for t, least in ((2.0, 25), (-3.0, 60)):
        canvas, psoas = muscle_of(muscles.paint_psoas, plain_subject(bend=0.0), t)
        assert least < np.abs(canvas.x[psoas]).mean() < least + 40


def test_muscles_of_the_back_are_behind_the_spine_within_the_wall():
    subject = plain_subject(bend=0.0)
    canvas, cut = paint(subject, 2.0, [muscles.paint_back], side=280)
    back = canvas.labels == MUSCLE_LABEL
    assert (canvas.y[back] > cut.spine_y - 5).all()
    assert (canvas.in_wall[back] >= 0.5).all()
    right, left = (mm2(canvas, back & (canvas.x * side > 0)) for side in (1, -1))
    assert right == pytest.approx(left, rel=0.1)
    assert 3000 < right + left < 15000


@pytest.mark.parametrize('painter', [muscles.paint_back, muscles.paint_psoas])
def test_wasted_muscles_are_small(painter):
    strong, wasted = (
        mm2(*muscle_of(painter, plain_subject(muscle=factor), 2.0)) for factor in (1.2, 0.6)
    )
    assert wasted < 0.75 * strong


@pytest.mark.parametrize(
    ('name', 'painter', 'beyond'),
    [('quadratus', muscles.paint_back, 68), ('psoas', muscles.paint_psoas, 0)],
)
def test_muscles_differ_from_person_to_person(name, painter, beyond):
    def area(share):
        canvas, muscle = muscle_of(painter, plain_subject(bend=0.0, **{name: share}), 1.5)
        return mm2(canvas, muscle & (np.abs(canvas.x) > beyond))

    assert 0 < area(0.75) < 0.8 * area(1.15)


def test_fat_lies_around_the_multifidus_as_wide_as_the_person_has_it():
    def sideways(share):
        subject = plain_subject(seams=3.0, bend=0.0, multifidus=share)
        canvas, cut = paint(subject, 1.5, [organs.paint_layers, muscles.paint_back], side=280)
        beside = np.abs(canvas.y - cut.spine_y - 44 * cut.size) < 8
        fat = (canvas.labels == 0) & beside & (np.abs(canvas.x) < 40 * cut.size)
        return np.abs(canvas.x[fat]).max()

    assert sideways(0.75) < 0.9 * sideways(1.3)


def test_below_l5_psoas_is_as_far_from_the_spine_as_the_person_has_it():
    near, far = (
        np.abs(canvas.x[psoas]).mean()
        for canvas, psoas in (
            muscle_of(muscles.paint_psoas, plain_subject(psoas_apart=share), -1.5)
            for share in (0.92, 1.1)
        )
    )
    assert far / near == pytest.approx(1.1 / 0.92, rel=0.03)


def test_from_l4_up_psoas_lies_on_the_vertebrae():
    for t in (1.0, 2.0, 3.0):
        for muscle in (0.6, 1.5):
            subject = plain_subject(muscle=muscle, bend=0.0, scoliosis=0.0)
            canvas, psoas = muscle_of(muscles.paint_psoas, subject, t)
            assert np.abs(canvas.x[psoas]).min() < Cut(subject, t).half_width_of_body


def test_fat_lies_between_the_muscles_of_the_back():
    narrow, wide = (
        mm2(*muscle_of(muscles.paint_back, plain_subject(seams=mm), 2.0)) for mm in (0.3, 4.5)
    )
    assert wide < 0.97 * narrow
    canvas, _ = paint(
        plain_subject(seams=4.5), 2.0, [organs.paint_layers, muscles.paint_back], side=280
    )
    fat = (canvas.hu < -60) & (canvas.in_wall >= 1) & (canvas.in_cavity <= 0) & (canvas.y > 0)
    assert mm2(canvas, fat & (canvas.labels == 0)) > 60


def crura_at(t):
    canvas, _ = paint(plain_subject(bend=0.0), t, [muscles.paint_crura], side=280)
    assert not canvas.labels.any()
    return canvas, canvas.hu > 0


def test_crura_are_beside_the_aorta_from_l2_up():
    assert mm2(*crura_at(1.5)) == 0
    canvas, crura = crura_at(4.5)
    assert 100 < mm2(canvas, crura) < 600
    assert np.abs(canvas.x[crura]).max() < 35


def test_muscles_of_the_back_are_flat_and_behind_the_ribs_in_the_chest():
    shapes = {}
    for t in (2.0, 6.5):
        subject = plain_subject(bend=0.0, seams=0.3)
        canvas, cut = paint(subject, t, [muscles.paint_back], side=280)
        back = canvas.labels == MUSCLE_LABEL
        at_side = back & (np.abs(canvas.x - 45 * cut.size) < 2)
        shapes[t] = np.ptp(canvas.x[back]), np.ptp(canvas.y[at_side])
        assert (canvas.in_cavity[back] > 0.5).any() == (t < 3)
    (wide, deep), (wider, flat) = shapes[2.0], shapes[6.5]
    assert flat < 0.6 * deep
    assert wider > 0.95 * wide
