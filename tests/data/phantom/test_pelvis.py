"""The pelvis: wings, hips, and the muscles around them."""

import numpy as np
import pytest
from phantoms import mm2, paint, plain_subject

from bodycomp_jax.data.phantom import organs, pelvis
from bodycomp_jax.data.phantom.curves import RIGHT
from bodycomp_jax.data.phantom.tissue import METAL, MUSCLE_LABEL


def bone_mm2(subject, t, painter):
    canvas, _ = paint(subject, t, [painter], side=280)
    return mm2(canvas, canvas.hu > 150)


@pytest.mark.parametrize('crest', [0.4, 0.8])
def test_wings_begin_at_the_crest(crest):
    subject = plain_subject(crest=crest)
    assert bone_mm2(subject, crest + 0.05, pelvis.paint_wings) == 0
    top, below = (bone_mm2(subject, crest - down, pelvis.paint_wings) for down in (0.15, 1.2))
    assert 0 < top < below


def test_wings_have_the_iliacus_inside():
    canvas, _ = paint(plain_subject(bend=0.0), -1.5, [pelvis.paint_wings], side=280)
    muscle, bone = canvas.labels == MUSCLE_LABEL, canvas.hu > 150
    assert mm2(canvas, muscle) > 500
    assert np.abs(canvas.x[muscle]).mean() < np.abs(canvas.x[bone]).mean()


def test_hips_are_at_their_height_on_both_sides():
    subject = plain_subject(bend=0.0)
    assert bone_mm2(subject, -2.0, pelvis.paint_hips) == 0
    canvas, _ = paint(subject, subject.hip, [pelvis.paint_hips], side=280)
    sides = [mm2(canvas, (canvas.hu > 150) & (canvas.x * side > 0)) for side in (-1, 1)]
    assert sides[0] == pytest.approx(sides[1], rel=0.05)
    assert sides[0] > 2000


def test_a_prosthesis_is_metal_in_one_hip():
    subject = plain_subject(bend=0.0, prosthesis=1.0)
    canvas, _ = paint(subject, subject.hip, [pelvis.paint_hips], side=280)
    metal = canvas.hu == METAL.hu
    assert mm2(canvas, metal) > 500
    assert (canvas.x[metal] > 0).all()


def test_gluteal_muscles_are_labelled_within_the_wall_and_end_at_l5():
    subject = plain_subject()
    for t, least in ((-2.5, 5000), (1.0, 0)):
        canvas, _ = paint(subject, t, [pelvis.paint_buttocks], side=140)
        muscle = canvas.labels == MUSCLE_LABEL
        assert mm2(canvas, muscle) >= least
        assert muscle.any() == bool(least)
        assert (canvas.in_wall[muscle] >= 0.5).all()


def test_the_wall_ends_at_the_wings_and_gluteal_muscle_is_outside_of_them():
    subject = plain_subject(bend=0.0, scoliosis=0.0)
    canvas, cut = paint(subject, -0.5, [pelvis.paint_wings], side=280)
    assert np.abs(canvas.x[canvas.hu > 150]).max() > cut.wall[RIGHT] - 15
    canvas, _ = paint(subject, -0.5, [pelvis.paint_buttocks], side=280)
    outside = (canvas.labels == MUSCLE_LABEL) & (canvas.in_wall == 0)
    assert mm2(canvas, outside) > 100
    assert (canvas.in_fat[outside] == 1).all()


def test_fat_between_wing_and_gluteal_muscles_is_neither_visceral_nor_subcutaneous():
    subject = plain_subject()
    bare, _ = paint(subject, -0.5, [organs.paint_layers])
    canvas, _ = paint(subject, -0.5, [organs.paint_layers, pelvis.paint_buttocks])
    taken = (bare.labels != 0) & (canvas.labels == 0)
    assert mm2(canvas, taken) > 200
