"""Painting the muscles along the spine."""


from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.curves import profile
from bodycomp_jax.data.phantom.cut import Cut


def paint_crura(canvas: Canvas, cut: Cut) -> None:
    """The legs of the diaphragm beside the aorta."""
    thick = profile(cut.t, {2.2: 0, 4: 1, 6: 1, 7: 0}) * cut.size
    x, y = 15 * cut.size, cut.spine_y - 21 * cut.size
    canvas.pair(x, y, 4 * thick, 9 * thick, cut.tissues.muscle, turn=-0.3)


def paint_back(canvas: Canvas, cut: Cut) -> None:
    """The muscles along the spine with fat around and between them, and quadratus lumborum."""
    y, s, wall = cut.spine_y, cut.size, canvas.in_wall
    muscle, fat, seam = cut.tissues.muscle, cut.tissues.other_fat, cut.person.seams
    wasting = cut.person.muscle
    thick = profile(cut.t, {-3.5: 0.0, -2: 0.45, -1: 0.75, 1: 1.0, 4: 0.95, 8: 0.7}) * s
    thin = thick * min(1.1, wasting)
    wide = profile(cut.t, {-2: 0.7, 0: 0.9, 2: 1.0, 5: 0.95, 8: 0.8})
    x = 40 * s * wide
    a, b = 0.5 * 38 * thin * wide, 30 * thin
    around = a + 0.5 * 38 * thick * wide + seam, 32 * thick + seam
    canvas.ellipse(0, y + 62 * s, 24 * s, 34 * s, fat, square=True, within=wall)
    canvas.pair(x, y + 45 * s, *around, fat, turn=-0.12, square=True, within=wall)
    canvas.pair(
        x + a - 3, y + 39 * s, a + 2 - seam / 2, b - 2, muscle, turn=-0.2, square=True, within=wall
    )
    canvas.pair(
        x - a + 2, y + 43 * s, a + 2 - seam / 2, b, muscle, turn=-0.05, square=True, within=wall
    )
    _paint_multifidus(canvas, cut, thin)
    thick = profile(cut.t, {0.3: 0, 1: 1, 2.5: 0.9, 4.8: 0.3, 5.2: 0}) * s * wasting
    x = profile(cut.t, {0.6: 84, 1: 78, 3: 64, 5: 48}) * s
    canvas.pair(
        x, y + 14 * s, 22 * thick + seam, 9 * thick + seam, fat, turn=0.6, within=canvas.in_cavity
    )
    canvas.pair(x, y + 14 * s, 22 * thick, 9 * thick, muscle, turn=0.6, within=wall)


def _paint_multifidus(canvas: Canvas, cut: Cut, thin: float) -> None:
    """Beside the spinous processes: larger towards the sacrum."""
    grown = profile(cut.t, {-3: 0.8, -1: 1.3, 1: 1.0, 4: 0.6, 8: 0.4}) * thin
    x, y = 15 * cut.size, cut.spine_y + 44 * cut.size
    seam = cut.person.seams
    canvas.pair(
        x,
        y,
        13 * grown + seam,
        22 * grown + seam,
        cut.tissues.other_fat,
        turn=-0.15,
        within=canvas.in_wall,
    )
    canvas.pair(x, y, 13 * grown, 22 * grown, cut.tissues.muscle, turn=-0.15, within=canvas.in_wall)


def paint_psoas(canvas: Canvas, cut: Cut) -> None:
    """From T12 down it grows; below L5 it leaves the spine and joins the iliacus."""
    t, s, muscle = cut.t - cut.subject.psoas_shift, cut.size, cut.person.muscle
    thick = profile(t, {-5: 0.8, -1: 1.0, 1: 0.95, 2: 0.76, 3: 0.55, 4: 0.34, 5: 0.0}) * muscle
    x = profile(t, {-5: 82, -3: 80, -1: 62, 0: 49, 1: 43, 2: 38, 4: 30, 5: 27}) * s
    forward = profile(t, {-5: 120, -3: 84, -1: 30, 0: 10, 1: 2, 5: 0}) * s
    y, turn = cut.spine_y - forward, profile(t, {-2: 0.0, 0: 0.2, 2: 0.3})
    a, b = 18 * thick * s, 25 * thick * s
    canvas.pair(x, y, a + 1, b + 1, cut.tissues.other_fat, turn=turn, within=canvas.in_wall)
    canvas.pair(x, y, a, b, cut.tissues.muscle, turn=turn, within=canvas.in_wall)
