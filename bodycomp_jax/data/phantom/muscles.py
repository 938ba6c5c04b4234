"""Painting the muscles along the spine."""

from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.curves import profile
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.outline import CHEST


def paint_crura(canvas: Canvas, cut: Cut) -> None:
    """The legs of the diaphragm beside the aorta."""
    thick = profile(cut.t, {2.2: 0, 4: 1, 6: 1, 7: 0}) * cut.size
    x, y = 15 * cut.size, cut.spine_y - 21 * cut.size
    canvas.pair(x, y, 4 * thick, 9 * thick, cut.tissues.unlabelled_muscle, turn=-0.3)


def paint_back(canvas: Canvas, cut: Cut) -> None:
    """The muscles along the spine with fat around and between them, and quadratus lumborum."""
    _paint_erector_spinae(canvas, cut)
    _paint_multifidus(canvas, cut)
    t, s, seam = cut.t - cut.subject.back_shift, cut.size, cut.person.seams
    thick = profile(t, {0.3: 0, 1: 1, 2: 0.85, 3: 0.55, 4.0: 0.3, 4.6: 0}) * s
    thick *= cut.person.muscle * cut.person.quadratus
    x = profile(t, {0.6: 80, 1: 74, 3: 58, 5: 42}) * s
    _paint_muscle(canvas, cut, x, 19 * s, 23 * thick, 8 * thick, 0.5 * seam, turn=0.4)


def _paint_erector_spinae(canvas: Canvas, cut: Cut) -> None:
    """Iliocostalis and longissimus reach the fascia behind them, unless they are wasted.

    In the chest they are flat, and behind the ribs.
    """
    t, s, seam = cut.t - cut.subject.back_shift, cut.size, cut.person.seams
    muscle, fat = cut.tissues.muscle, cut.tissues.other_fat
    deep = profile(t, {-3.5: 0, -2: 14, -1: 22, 1: 27, 3: 25, 4: 22, 5: 18, 6.5: 13, 8: 12}) * s
    wide = profile(t, {-3.5: 0, -2: 6, 0: 15, 1: 18, 3: 18, 4: 18, 6.5: 17, 8: 15}) * s
    x = profile(t, {-2: 28, 0: 36, 2: 40, 3: 39, 4: 41, 5: 44, 6.5: 45, 8: 42}) * s
    y = cut.spine_y + profile(t, {-1: 0, 1: 4, 3: 5, 6.5: 8}) * s
    chest = profile(cut.t, CHEST)
    in_front = canvas.inside(cut.cavity - 60 * (1 - chest) * s)  # of the ribs; nowhere below them
    place = {'square': True, 'within': canvas.in_wall * (1 - in_front)}
    turned = profile(t, {4: 1, 6: 0})
    thin = min(1.1, cut.person.back_muscle)
    a, b = wide * thin, deep * thin
    canvas.ellipse(0, cut.spine_y + 62 * s, 12 * s, 34 * s, fat, **place)
    canvas.pair(
        x, y + 45 * s, a + wide + seam, 1.07 * deep + seam, fat, turn=-0.12 * turned, **place
    )
    lateral, medial = (1, 41, 3, -0.2), (-1, 46, 4, -0.05)
    for outwards, behind, deeper, turn in (lateral, medial):
        middle, width = x + outwards * (a - 2.5), a + 2 - seam / 2
        canvas.pair(middle, y + behind * s, width, b + deeper, muscle, turn=turn * turned, **place)


def _paint_multifidus(canvas: Canvas, cut: Cut) -> None:
    """Beside the spinous processes: larger towards the sacrum."""
    t = cut.t - cut.subject.back_shift
    grown = profile(t, {-3: 0.8, -1: 1.3, 1: 1.0, 4: 0.6, 8: 0.4}) * cut.size
    grown *= min(1.1, cut.person.back_muscle) * cut.person.multifidus
    s, seam = cut.size, cut.person.seams
    _paint_muscle(canvas, cut, 15 * s, 44 * s, 13 * grown, 22 * grown, seam, turn=-0.15)


def _paint_muscle(
    canvas: Canvas, cut: Cut, x: float, behind: float, a: float, b: float, seam: float, turn: float
) -> None:
    """An ellipse and fat around it, on both sides, `behind` mm behind the middle of a vertebra."""
    y, wall = cut.spine_y + behind, canvas.in_wall
    canvas.pair(x, y, a + seam, b + seam, cut.tissues.other_fat, turn=turn, within=wall)
    canvas.pair(x, y, a, b, cut.tissues.muscle, turn=turn, within=wall)


def paint_psoas(canvas: Canvas, cut: Cut) -> None:
    """From T12 down it grows; below L5 it leaves the spine and joins the iliacus."""
    t, s = cut.t - cut.subject.psoas_shift, cut.size
    thick = profile(t, {-5: 0.8, -1: 1.0, 1: 0.95, 2: 0.76, 3: 0.55, 4: 0.34, 5: 0.0})
    thick *= min(1.8, cut.person.muscle * cut.person.psoas)  # leaves room for the vessels
    x = profile(t, {-5: 82, -3: 80, -1: 62, 0: 49, 1: 43, 2: 38, 4: 30, 5: 27})
    x *= s * cut.person.psoas_apart
    beside_body = cut.half_width_of_body + (18 * thick - 3) * s
    x -= profile(t, {-1: 0, 1: 1}) * max(0.0, x - beside_body)  # from L4 up no fat is between
    forward = profile(t, {-5: 120, -3: 84, -1: 30, 0: 10, 1: 2, 5: 0}) * s
    turn = profile(t, {-2: 0.0, 0: 0.2, 2: 0.3})
    _paint_muscle(canvas, cut, x, -forward, 18 * thick * s, 25 * thick * s, 1.0, turn)
