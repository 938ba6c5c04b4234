"""Painting what is not the trunk: couch, clothes, wires, arms."""

import numpy as np

from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.curves import ANGLES, BACK, FRONT, LEFT, RIGHT
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.tissue import (
    CLOTH,
    COUCH_FOAM,
    COUCH_SHELL,
    PLASTIC,
    SKIN,
    Tissue,
)


def paint_couch(canvas: Canvas, cut: Cut) -> None:
    """A top of two thin shells around foam, flat or curved, with or without a mattress."""
    curve, mattress, thick, wide, dense, strong = cut.subject.couch.tolist()
    lower = slice(np.searchsorted(canvas.rows, cut.couch_y - 150), None)
    x, y = canvas.columns[None], canvas.rows[lower, None]
    below = y - (cut.couch_y + 1.5) + curve**2 * x**2 / 900
    gap = 4 + 18 * mattress if mattress > 0.5 else 0.0
    depth = 8 + 45 * thick
    shell = Tissue(COUCH_SHELL.hu + 500 * dense**2)
    half_shell = 0.6 + 1.6 * strong**2
    on_couch = np.abs(x) < 170 + 80 * wide
    for middle, half, tissue in (
        (gap / 2, gap / 2, COUCH_FOAM),
        (gap + depth / 2, depth / 2, COUCH_FOAM),
        (gap + half_shell, half_shell, shell),
        (gap + depth, half_shell, shell),
    ):
        if half:
            share = canvas.cover(half - np.abs(below - middle)) * on_couch
            canvas.fill(share, tissue, (lower, slice(None)))


def paint_clothes(canvas: Canvas, cut: Cut) -> None:
    """Cloth around the body, and wires and tubes on the skin."""
    distance = cut.person.blanket
    if distance:
        crumpled = cut.skin + distance * (1.2 + np.sin(7 * ANGLES + 3 * cut.t))
        share = canvas.inside(crumpled + 1) * (1 - canvas.inside(crumpled))
        canvas.fill(0.6 * share, CLOTH)
    for angle in cut.subject.tube_angles[: round(cut.person.tubes)]:
        r = float(np.interp(angle, ANGLES, cut.skin)) + 4
        x, y = r * np.cos(angle), r * np.sin(angle)
        canvas.ellipse(x, y, 3, 3, PLASTIC)
        canvas.ellipse(x, y, 1.6, 1.6, Tissue(-900))


def paint_arms(canvas: Canvas, cut: Cut) -> None:
    """Beside the trunk; none of their tissues has a label."""
    scale = cut.person.arms
    if not scale:
        return
    fat, muscle = cut.tissues.other_fat, cut.tissues.unlabelled_muscle
    thick = min(16.0, 2 + 0.35 * cut.person.fat)
    radius = scale * (25 + 2.5 * abs(cut.t - 1)) * (0.8 + 0.2 * cut.person.muscle) + thick
    for side, ahead, gap in zip((-1, 1), cut.subject.arm, cut.subject.arm_gap, strict=True):
        edge = cut.skin[RIGHT if side > 0 else LEFT]
        x = side * (edge + radius + gap)
        y = -ahead * cut.skin[FRONT] + 0.3 * cut.skin[BACK]
        inner = radius - 2 - thick
        canvas.ellipse(x, y, radius, 0.9 * radius, SKIN)
        canvas.ellipse(x, y, radius - 2, 0.9 * radius - 2, fat)
        canvas.ellipse(x, y, inner, 0.9 * inner, muscle)
        bones = [(0.0, 11.0)] if cut.t > 4 else [(-0.4, 6.0), (0.4, 7.0)]
        for apart, size in bones:
            canvas.ellipse(x, y + apart * inner, size, size, cut.tissues.cortical)
            canvas.ellipse(x, y + apart * inner, size - 3.5, size - 3.5, fat)
