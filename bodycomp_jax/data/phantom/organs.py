"""Painting the layers of the body, and the organs, bowel, vessels and lungs inside them."""

import numpy as np

from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.subject import Cut, Ellipsoid, profile
from bodycomp_jax.data.phantom.tissue import (
    COUCH_FOAM,
    COUCH_SHELL,
    LUNG,
    MUSCLE,
    OTHER_FAT,
    SKIN,
    SOFT,
    SUBCUTANEOUS_FAT,
    VISCERAL_FAT,
)

CHEST = 4.7  # t where it begins


def paint_couch(canvas: Canvas, cut: Cut) -> None:
    """A curved top of two thin shells around foam."""
    below = canvas.y - (cut.couch_y + 1.5) + canvas.x**2 / 1500
    on_couch = np.abs(canvas.x) < 200
    for middle, half, tissue in (
        (8.0, 8.0, COUCH_FOAM),
        (1.2, 1.2, COUCH_SHELL),
        (15.0, 1.2, COUCH_SHELL),
    ):
        canvas.fill(canvas.cover(half - np.abs(below - middle)) * on_couch, tissue)


def paint_layers(canvas: Canvas, cut: Cut) -> None:
    """Skin, subcutaneous fat, the muscular wall, and the fat of abdomen and chest."""
    canvas.fill(canvas.in_skin, SKIN)
    canvas.fill(canvas.in_fat, SUBCUTANEOUS_FAT)
    canvas.fill(canvas.in_wall, MUSCLE)
    canvas.fill(canvas.in_cavity, VISCERAL_FAT)
    if cut.t > CHEST:
        right, left = (canvas.outside(dome) for dome in cut.subject.domes)
        canvas.fill(canvas.in_cavity * right * left, OTHER_FAT)


def paint_bowel(canvas: Canvas, cut: Cut) -> None:
    for loop in cut.subject.bowel:
        if abs(cut.t - loop.t) < loop.h:
            canvas.hollow(loop, SOFT, 2.5, within=canvas.in_cavity)


def paint_organs(canvas: Canvas, cut: Cut) -> None:
    subject, inside = cut.subject, canvas.in_cavity
    for organ in subject.organs:
        canvas.ellipsoid(organ, within=inside)
    canvas.hollow(subject.stomach, SOFT, 4, within=inside)
    for kidney in subject.kidneys:
        canvas.ellipsoid(kidney, within=inside)
        sinus = kidney._replace(
            x=kidney.x * 0.8, y=kidney.y - 5, a=kidney.a * 0.6, b=kidney.b * 0.35, h=1.0
        )
        canvas.ellipsoid(sinus, VISCERAL_FAT, within=inside)
    canvas.hollow(subject.bladder, SOFT, 3, within=inside)


def paint_vessels(canvas: Canvas, cut: Cut) -> None:
    """Aorta and vena cava, and the iliac vessels below the fork."""
    t, s, y, subject = cut.t, cut.size, cut.spine_y, cut.subject
    below = subject.bifurcation - t
    if below < 0:
        x = profile(t, {1: 3, 4: 7, 7: 15})
        forward = profile(t, {1: 28, 5: 29, 7: 24})
        r = profile(t, {1: 8.5, 6: 11})
        canvas.ellipse(x * s, y - forward * s, r * s, r * s, subject.blood)
    else:
        x = 7 + 17 * below
        forward = profile(t, {-4: 75, -2: 48, 0: 30, 1: 28})
        canvas.pair(x * s, y - forward * s, 6.5 * s, 6.5 * s, subject.blood)
    below -= 0.45
    if below < 0:
        forward = profile(t, {1: 25, 4: 28, 6: 36, 8: 52})
        canvas.ellipse(-17 * s, y - forward * s, 12 * s, 9 * s, subject.venous_blood)
    else:
        x = 14 + 16 * below
        forward = profile(t, {-4: 62, -2: 36, 0: 25, 1: 25})
        canvas.pair(x * s, y - forward * s, 7.5 * s, 6 * s, subject.venous_blood)


def paint_chest(canvas: Canvas, cut: Cut) -> None:
    """Lungs outside the domes of the diaphragm, and the heart between them."""
    if cut.t < CHEST:
        return
    subject = cut.subject
    mediastinum = Ellipsoid(2, cut.spine_y - 35, cut.t, 24 * cut.size, 48, 1.0, OTHER_FAT)
    outside = [canvas.outside(e) for e in (*subject.domes, subject.pericardium, mediastinum)]
    lungs = canvas.in_cavity * np.prod(outside, axis=0)
    canvas.fill(lungs, LUNG)
    for vessel in subject.lung_vessels:
        if abs(cut.t - vessel.t) < vessel.h:
            canvas.ellipsoid(vessel, within=lungs)
    canvas.ellipsoid(subject.heart, within=canvas.in_cavity)
