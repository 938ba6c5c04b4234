"""Painting the muscles along the spine."""

import numpy as np

from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.subject import Cut, profile
from bodycomp_jax.data.phantom.tissue import MUSCLE, OTHER_FAT


def paint_crura(canvas: Canvas, cut: Cut) -> None:
    """The legs of the diaphragm beside the aorta."""
    thick = profile(cut.t, {2.2: 0, 4: 1, 6: 1, 7: 0}) * cut.size
    canvas.pair(15 * cut.size, cut.spine_y - 21 * cut.size, 4 * thick, 9 * thick, MUSCLE, turn=-0.3)


def paint_back(canvas: Canvas, cut: Cut) -> None:
    """The muscles along the spine, seams of fat between them, and the quadratus lumborum."""
    y, s = cut.spine_y, cut.size * cut.subject.muscle
    thick = profile(cut.t, {-2.2: 0.0, -1: 0.6, 1: 1.0, 4: 0.95, 8: 0.7}) * s
    beside = 0.4 * s + 0.6 * thick
    middles = np.array([(-60, 26), (-27, 40), (27, 40), (60, 26)]) * (beside, s) + (0, y)
    canvas.stroke(middles, 18 * thick, OTHER_FAT, within=canvas.in_cavity)
    for (x, behind), a, b in zip(middles[:1:-1], (24, 27), (16, 21), strict=True):
        a, b, seam = a * thick, b * thick, 1.5
        canvas.pair(x, behind, a + seam, b + seam, OTHER_FAT, turn=0.35, within=canvas.in_cavity)
        canvas.pair(x, behind, a, b, MUSCLE, turn=0.35, within=canvas.in_wall)
    thick = profile(cut.t, {0.3: 0, 1: 1, 2.5: 0.9, 4.8: 0.3, 5.2: 0}) * s
    x = profile(cut.t, {1: 76, 5: 50}) * s
    canvas.pair(x, y + 12 * s, 19 * thick, 8 * thick, MUSCLE, turn=0.5, within=canvas.in_cavity)


def paint_psoas(canvas: Canvas, cut: Cut) -> None:
    """From T12 down it grows; below L5 it leaves the spine and joins the iliacus."""
    t, s, muscle = cut.t - cut.subject.psoas_shift, cut.size, cut.subject.muscle
    thick = profile(t, {-5: 0.8, -1: 1.0, 1: 1.0, 2: 0.8, 3: 0.58, 4: 0.36, 5: 0.0}) * muscle
    x = profile(t, {-5: 82, -3: 80, -1: 62, 0: 49, 1: 43, 2: 38, 4: 30, 5: 27}) * s
    forward = profile(t, {-5: 120, -3: 84, -1: 30, 0: 10, 1: 2, 5: 0}) * s
    y, turn = cut.spine_y - forward, profile(t, {-2: 0.0, 0: 0.2, 2: 0.3})
    canvas.pair(x, y, 18 * thick * s, 25 * thick * s, MUSCLE, turn=turn)
