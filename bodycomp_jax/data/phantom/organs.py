"""Painting the layers of the body, and the organs, bowel, vessels and lungs inside them."""

import itertools

import numpy as np

from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.curves import ANGLES, Ellipsoid, profile
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.outline import CHEST
from bodycomp_jax.data.phantom.tissue import FLUID, LUNG, SKIN, SOFT, Tissue


def paint_layers(canvas: Canvas, cut: Cut) -> None:
    """Skin, subcutaneous fat, the muscular wall, and the fat of abdomen and chest."""
    canvas.fill(canvas.in_skin, SKIN)
    canvas.fill(canvas.in_fat, cut.tissues.subcutaneous_fat)
    canvas.fill(canvas.in_wall, cut.tissues.other_fat)
    canvas.bands([(cut.wall, cut.wall - 1)], cut.tissues.aponeurosis)
    canvas.bands([(cut.diaphragm + 1, cut.diaphragm)], cut.tissues.fascia)
    canvas.bands(cut.bands, cut.tissues.muscle)
    canvas.bands([(cut.diaphragm, cut.cavity)], cut.tissues.unlabelled_muscle)
    canvas.fill(canvas.in_cavity, cut.tissues.visceral_fat)
    canvas.fill(canvas.in_cavity * _behind_the_spine(canvas, cut), cut.tissues.other_fat)


def _behind_the_spine(canvas: Canvas, cut: Cut) -> np.ndarray:
    """Where the muscles of the back lie within the outline of the cavity: 0..1 in each pixel.

    With the fat between them and the psoas; in the chest, lungs are where that is.
    """
    chest = profile(cut.t, CHEST)
    behind = canvas.cover(canvas.y - (cut.spine_y + (16 + 16 * chest) * cut.size))
    beside = canvas.cover((60 - 35 * chest) * cut.size - np.abs(canvas.x))
    return behind * beside


def paint_bowel(canvas: Canvas, cut: Cut) -> None:
    """The walls of the loops of a run, then their lumens, which form one tube."""
    for _, run in itertools.groupby(cut.subject.bowel, lambda loop: loop.run):
        met = [loop for loop in run if abs(cut.t - loop.lumen.t) < loop.lumen.h]
        for loop in met:
            canvas.ellipsoid(loop.lumen, cut.tissues.bowel_wall, within=canvas.in_peritoneum)
        for loop in met:
            canvas.ellipsoid(loop.lumen, shrink=loop.wall, within=canvas.in_peritoneum)


def paint_masses(canvas: Canvas, cut: Cut) -> None:
    """Masses of any density in the abdomen."""
    for mass in cut.subject.masses:
        if abs(cut.t - mass.t) < mass.h:
            canvas.hollow(mass, mass.tissue, 1.0, within=canvas.in_peritoneum)


def paint_organs(canvas: Canvas, cut: Cut) -> None:
    """Kidneys with their fat, and the other organs of the abdomen."""
    abdomen, tissues, inside = cut.subject.abdomen, cut.tissues, canvas.in_peritoneum
    for kidney in abdomen.kidneys:
        _paint_renal_fat(canvas, cut, kidney)
    for organ in (abdomen.pancreas, *abdomen.liver):
        canvas.ellipsoid(organ, within=inside)
    _paint_hepatic_vessels(canvas, cut)
    for organ in (abdomen.gall_bladder, *abdomen.spleen):
        canvas.ellipsoid(organ, within=inside)
    for part in abdomen.stomach:
        canvas.hollow(part, tissues.bowel_wall, 4, within=inside)
    for kidney in abdomen.kidneys:
        _paint_kidney(canvas, cut, kidney)
    for cyst in abdomen.cysts:
        canvas.ellipsoid(cyst, within=inside)
    canvas.hollow(abdomen.bladder, SOFT, 3, within=inside)


def _paint_hepatic_vessels(canvas: Canvas, cut: Cut) -> None:
    """In the right lobe."""
    abdomen = cut.subject.abdomen
    met = [vessel for vessel in abdomen.hepatic_vessels if abs(cut.t - vessel.t) < vessel.h]
    if met:
        in_liver = canvas.in_peritoneum * (1 - canvas.outside(abdomen.liver[0]))
        for vessel in met:
            canvas.ellipsoid(vessel, within=in_liver)


def _paint_renal_fat(canvas: Canvas, cut: Cut, kidney: Ellipsoid) -> None:
    """Renal fascia around fat, which liver and spleen displace."""
    person, fat = cut.person, cut.tissues.visceral_fat
    if person.renal_fascia:
        a, b = kidney.a + person.renal_fat, kidney.b + 1.15 * person.renal_fat
        around = kidney._replace(a=a, b=b, h=1.25 * kidney.h)
        canvas.ellipsoid(around, Tissue(-30), within=canvas.in_cavity)
        canvas.ellipsoid(around, fat, shrink=person.renal_fascia, within=canvas.in_cavity)


def _paint_kidney(canvas: Canvas, cut: Cut, kidney: Ellipsoid) -> None:
    """A line of fat around cortex, medulla, and the sinus with its pelvis."""
    tissues, inside = cut.tissues, canvas.in_cavity
    canvas.ellipsoid(kidney, tissues.visceral_fat, shrink=-cut.person.renal_capsule, within=inside)
    canvas.ellipsoid(kidney, within=inside)
    _paint_pyramids(canvas, cut, kidney)
    share = cut.subject.abdomen.sinus
    sinus = kidney._replace(
        x=kidney.x * 0.82, y=kidney.y - 5, a=kidney.a * (share + 0.2), b=kidney.b * share, h=1.0
    )
    canvas.ellipsoid(sinus, tissues.renal_sinus, within=inside)
    canvas.ellipsoid(sinus, tissues.urine, shrink=0.45 * sinus.b, within=inside)


def _paint_pyramids(canvas: Canvas, cut: Cut, kidney: Ellipsoid) -> None:
    """The medulla, between columns of cortex; from slice to slice others are cut."""
    scale = kidney.scale(cut.t)
    a, b = scale * kidney.a, scale * kidney.b
    middle = kidney.x + kidney.slant * (cut.t - kidney.t), kidney.y
    axes = np.cos(kidney.turn), np.sin(kidney.turn)
    for pyramid in cut.subject.abdomen.pyramids:
        angle = pyramid.angle + cut.t
        u, v = 0.57 * a * np.cos(angle), 0.57 * b * np.sin(angle)
        x = middle[0] + u * axes[0] - v * axes[1]
        y = middle[1] + u * axes[1] + v * axes[0]
        turn = kidney.turn + angle
        long, wide = 0.27 * min(a, b), pyramid.half_width * min(a, b)
        canvas.ellipse(
            x, y, long, wide, cut.tissues.renal_medulla, turn=turn, within=canvas.in_cavity
        )


def paint_fluid(canvas: Canvas, cut: Cut) -> None:
    """Ascites: along the wall of the abdomen, deeper at the back, where it sinks to."""
    depth = cut.person.ascites
    if depth and cut.t < 7:
        deeper = 1 + 0.6 * np.sin(ANGLES)
        inner = canvas.inside(cut.cavity - depth * deeper.clip(0.3))
        middle, half = cut.spine_y + 45 * cut.size, (75 * cut.size, 65 * cut.size)
        retroperitoneum = Ellipsoid(0, middle, cut.t, *half, 1.0, FLUID)  # hardly any behind it
        canvas.fill(canvas.in_cavity * (1 - inner) * canvas.outside(retroperitoneum), FLUID)


def paint_vessels(canvas: Canvas, cut: Cut) -> None:
    """Vena cava and aorta, below their forks the iliac vessels; arteries lie in front of veins."""
    t, s, y = cut.t, cut.size, cut.spine_y
    blood, venous = cut.tissues.blood, cut.tissues.venous_blood
    above = t - cut.subject.bifurcation  # of the aorta; that of the vena cava is lower
    if above > -0.45:
        forward = profile(t, {1: 25, 4: 28, 6: 36, 8: 52})
        canvas.ellipse(-17 * s, y - forward * s, 12 * s, 9 * s, venous)
    else:
        x = 14 - 16 * (above + 0.45)
        forward = profile(t, {-4: 62, -2: 36, 0: 25, 1: 25})
        canvas.pair(x * s, y - forward * s, 7.5 * s, 6 * s, venous)
    if above > 0:
        x = profile(t, {1: 3, 4: 7, 7: 15}) * s
        aorta_y = y - profile(t, {1: 28, 5: 29, 7: 24}) * s
        r = profile(t, {1: 8.5, 6: 11}) * s
        canvas.ellipse(x, aorta_y, r + 1, r + 1, SOFT)
        canvas.ellipse(x, aorta_y, r, r, blood)
        _paint_calcification(canvas, cut, x, aorta_y, r)
    else:
        x = 7 - 17 * above
        forward = profile(t, {-4: 75, -2: 48, 0: 30, 1: 28})
        canvas.pair(x * s, y - forward * s, 6.5 * s, 6.5 * s, blood)
        _paint_calcification(canvas, cut, x * s, y - forward * s, 6.5 * s)


def _paint_calcification(canvas: Canvas, cut: Cut, x: float, y: float, r: float) -> None:
    """Arcs of the wall of a vessel."""
    for start in cut.subject.calcified[: round(8 * cut.person.calcification)]:
        if np.sin(5 * start + 4 * cut.t) > 0.3:
            angles = start + np.linspace(0, 0.8, 4)
            arc = np.stack([x + r * np.cos(angles), y + r * np.sin(angles)], 1)
            canvas.stroke(arc, 0.9, Tissue(700))


def paint_chest(canvas: Canvas, cut: Cut) -> None:
    """Lungs outside the domes of the diaphragm, and the heart between them."""
    chest = cut.subject.chest
    if cut.t < min(dome.t for dome in chest.domes):
        return
    mediastinum = Ellipsoid(2, cut.spine_y - 35, cut.t, 24 * cut.size, 48, 1.0, SOFT)
    outside = [canvas.outside(e) for e in (*chest.domes, chest.pericardium, mediastinum)]
    lungs = canvas.in_cavity * np.prod(outside, axis=0) * (1 - _behind_the_spine(canvas, cut))
    canvas.fill(lungs, LUNG)
    for vessel in chest.vessels:
        if abs(cut.t - vessel.t) < vessel.h:
            canvas.ellipsoid(vessel, within=lungs)
    above_domes = np.prod(outside[: len(chest.domes)], axis=0)
    canvas.ellipsoid(chest.heart, within=canvas.in_cavity * above_domes)
