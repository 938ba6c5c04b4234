"""Painting the pelvis: its wings, the hips, and the muscles around them."""

import numpy as np

from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.curves import RIGHT, Ellipsoid, profile
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.tissue import DISC, METAL, Tissue


def paint_buttocks(canvas: Canvas, cut: Cut) -> None:
    """Gluteal muscles with fat between them, below the hip joint the muscles of the thigh."""
    t, w, d, s, wall = cut.t, cut.width, cut.depth, cut.size, canvas.in_wall
    wing, under_fat = _wing(cut), canvas.inside((cut.wall + cut.skin) / 2)
    if wing is not None:
        for side in ([-1, 1], [1, 1]):
            fat, medius = wing + 14 * s, wing[2:] + s * np.array([8, 6])
            thick = 9 * s * _thickness_below_crest(cut) * min(1.0, cut.person.muscle)
            canvas.stroke(fat * side, 16 * s, cut.tissues.other_fat, within=canvas.in_cavity)
            canvas.stroke(medius * side, thick, cut.tissues.muscle, within=under_fat)
    thick = profile(t, {-5: 1.0, -2.5: 1.0, -0.8: 0.5, 0.1: 0})
    canvas.pair(
        0.5 * w,
        0.86 * d,
        0.46 * w * thick,
        0.3 * d * thick,
        cut.tissues.muscle,
        turn=-0.25,
        within=wall,
    )
    thick = profile(t, {-5: 1.0, -2: 1.0, -0.5: 0.7, 0.3: 0})
    canvas.pair(
        0.86 * w,
        0.25 * d,
        0.17 * w * thick,
        0.55 * d * thick,
        cut.tissues.muscle,
        turn=0.2,
        within=wall,
    )
    thick = profile(t, {-5: 1.0, -3.6: 0.8, -2.8: 0})
    canvas.pair(
        0.72 * w, -0.45 * d, 0.2 * w * thick, 0.3 * d * thick, cut.tissues.muscle, within=wall
    )
    canvas.pair(
        0.42 * w, 0.12 * d, 0.07 * w * thick, 0.5 * d * thick, cut.tissues.muscle, within=wall
    )


def paint_wings(canvas: Canvas, cut: Cut) -> None:
    """The wings of the pelvis, with the iliacus inside."""
    wing, s = _wing(cut), cut.size
    if wing is None:
        return
    thick = _thickness_below_crest(cut) * s
    for side in ([-1, 1], [1, 1]):
        canvas.stroke((wing[1:] - [9 * s, 5 * s]) * side, 8 * thick, cut.tissues.muscle)
        canvas.stroke(wing * side, 5.5 * thick, cut.tissues.cortical)
        canvas.stroke(wing * side, 3 * thick, cut.tissues.spongy)


def paint_hips(canvas: Canvas, cut: Cut) -> None:
    """The sockets, the heads in them with a layer of cartilage, and the trochanters."""
    w, d, s, t, spongy = cut.width, cut.depth, cut.size, cut.subject.hip, cut.tissues.spongy
    x, y = 0.7 * w, -0.02 * d
    socket = Ellipsoid(x - 8 * s, y + 2, t, 30 * s, 32 * s, 2.0, cut.tissues.cortical)
    head = Ellipsoid(x, y, t, 26 * s, 26 * s, 1.2, DISC)
    trochanter = Ellipsoid(1.0 * w, 0.2 * d, t - 0.8, 15 * s, 20 * s, 1.1, cut.tissues.cortical)
    for bone, tissue, shrink in (
        (socket, cut.tissues.cortical, 0),
        (socket, spongy, 3),
        (head, DISC, 0),
        (head, cut.tissues.cortical, 2),
        (head, Tissue(1.3 * spongy.hu), 4),
        (trochanter, cut.tissues.cortical, 0),
        (trochanter, spongy, 2.5),
    ):
        canvas.ellipsoid(bone, tissue, shrink=shrink)
        canvas.ellipsoid(bone._replace(x=-bone.x), tissue, shrink=shrink)
    if cut.person.prosthesis:
        canvas.ellipsoid(head, METAL, shrink=3)


def _thickness_below_crest(cut: Cut) -> float:
    """Of the wings and of the muscles beside them, times the usual: they are thin at the crest."""
    return min(1.0, 0.5 + cut.person.crest - cut.t)


def _wing(cut: Cut) -> np.ndarray | None:
    """The right wing from back to front, `[9, 2]` mm; None above its crest and at the hip."""
    t, w, s = cut.t, cut.width, cut.size
    below = cut.person.crest - t
    if below < 0 or t < -4:
        return None
    flare = profile(t, {-4: 0.66, -2: 0.78, 0: 0.92}) * w
    flare += profile(t, {-3: 0, -1: 1}) * (cut.wall[RIGHT] - w)  # the wall ends at the crest
    behind = np.array([profile(t, {-2.5: 40, -1: 50}), profile(t, {-2.5: 22, -1: 40})]) * s
    behind[1] += cut.spine_y
    bend = np.array([flare - 0.07 * w, 0.6 * cut.depth])
    front = np.array([flare, -0.3 * cut.depth])
    half = 0.5 * min(1.0, below / 1.3) ** 0.5
    start = max(0.5 - half, profile(t, {-3.2: 0.5, -2: 0.0}))
    end = min(0.5 + half, profile(t, {-4: 0.75, -2: 1.0}))
    v = np.linspace(start, end, 9)[:, None]
    return (1 - v) ** 2 * behind + 2 * v * (1 - v) * bend + v**2 * front
