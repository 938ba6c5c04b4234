"""Painting the spine and the ribs."""

import math

import numpy as np

from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.curves import ANGLES, profile
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.tissue import CORD, DISC, FLUID, METAL, SOFT

SACRUM, LAST_DISC = -1, -0.55  # t of the first sacral vertebra, and of the border of the disc above
# Where the parts of an arch are along the spine: t, in relation to the middle of its pedicles'
# body.
LAMINA, PEDICLES, FACETS = (-0.68, 0.02), (-0.08, 0.3), (0.17, 0.58)
LOWEST, HIGHEST = -0.9, FACETS[1]  # of all of them
ARCH_WIDTHS = {0: 1.2, 1: 1.1, 2: 1.0, 4: 0.85, 8: 0.75}  # by level, times that at L3
TRANSVERSE = {0: 40, 1: 41, 2: 48, 3: 42, 4: 36, 5: 24, 6: 30, 8: 32}  # reach by level, mm
LEVEL_OF_LAST_RIB = 5
RIB_FALLS = {5: 1.7, 6: 3.2, 7: 4.4, 8: 5.1, 9: 5.6, 10: 6.0, 11: 6.5}  # rib 12 starts at T12
RIB_ENDS = {6: 0.55}  # where the eleventh stops on the way to the front; the twelfth differs
RIB_BONE = 0.65  # where the cartilage of the others begins on this way
RIB_HEIGHT = 0.26  # t, from edge to edge
RIB_RADIUS, RIB_SHELL, CARTILAGE_RADIUS = 3.2, 1.0, 3.8  # mm; cortical bone around spongy bone


def paint_sacrum(canvas: Canvas, cut: Cut) -> None:
    """It leans back: its alae and its canal begin beside and behind L5."""
    t, s, y = cut.t, cut.size, cut.spine_y
    lower = t - 0.25 * cut.person.lordosis
    _paint_alae(canvas, cut, y + 19 * s, profile(lower, {-1.7: 0, -1.4: 1, -0.6: 1, -0.15: 0}))
    b = profile(t, {-4.5: 6, -3.5: 8, -2: 13, -1: 19}) * s
    if t <= LAST_DISC:
        _paint_sacral_bodies(canvas, cut, b)
    canal = profile(lower, {-4: 0, -3: 0.4, -1: 1, -0.5: 1, -0.4: 0}) * s
    halves = np.array([[-17, 4], [0, 17], [17, 4]]) * canal + [0, y + b]
    if canal:
        canvas.stroke(halves, 3 * canal, cut.tissues.cortical)
        canvas.stroke(halves[1] + np.array([[0, 0], [0, 8]]) * canal, 2 * s, cut.tissues.cortical)
        canvas.ellipse(0, y + b + 7 * s, 11 * canal, 6 * canal, FLUID)


def _paint_alae(canvas: Canvas, cut: Cut, y: float, ala: float) -> None:
    s = cut.size
    for shell, tissue in ((0, cut.tissues.cortical), (2.5, cut.tissues.spongy)):
        canvas.pair(33 * s, y, 23 * ala * s - shell, 12 * ala * s - shell, tissue, turn=-0.2)


def _paint_sacral_bodies(canvas: Canvas, cut: Cut, b: float) -> None:
    """The bodies, b mm from their middle to the canal, and the foramina between them."""
    t, s, y = cut.t, cut.size, cut.spine_y
    a = profile(t, {-4.5: 8, -3.5: 20, -2: 38, -1: 50}) * s
    for shell, tissue in ((0, cut.tissues.cortical), (2.5, cut.tissues.spongy)):
        canvas.pair(0.55 * a, y + 8 * s, 0.5 * a - shell, 0.95 * b - shell, tissue, turn=0.3)
        canvas.ellipse(0, y, 0.62 * a - shell, b - shell, tissue)
    if abs((t + 0.5) % 1 - 0.5) > 0.25:
        narrow = profile(t, {-4: 0, -3: 0.4, -1: 1}) * s
        canvas.pair(0.4 * a, y + 5 * s, 4.5 * narrow, 5 * narrow, cut.tissues.other_fat)


def paint_vertebra(canvas: Canvas, cut: Cut) -> None:
    """Body or disc, or parts of both where the vertebra is tilted, and the arch behind them."""
    if cut.t < LAST_DISC:
        return
    vertebra, s, y = cut.subject.vertebra(cut.t), cut.size, cut.spine_y
    a = (24.3 - cut.person.taper / 2 * (cut.t - 2)) * s * vertebra.width
    b = _depth_of_body(cut)
    _paint_arches(canvas, cut, y + b + 6 * s)
    _paint_body(canvas, cut, a, b)
    _paint_osteophytes(canvas, cut, a, b)
    canvas.ellipse(0, y + b + 6 * s, 9 * s, 7.5 * s, CORD)


def _depth_of_body(cut: Cut) -> float:
    """From its middle to the front, mm."""
    return (18.5 - 0.25 * cut.t) * cut.size * cut.person.bodies


def _slope(cut: Cut) -> float:
    """By how much t grows per mm towards the front; 0 from the sacrum down."""
    height = cut.subject.z(cut.t + 0.5) - cut.subject.z(cut.t - 0.5)
    share = min(1.0, max(0.0, (cut.t - LAST_DISC) / 0.45))
    return share * math.tan(math.radians(cut.subject.vertebra(cut.t).tilt)) / height


def _t_of_arch(cut: Cut) -> float:
    """At what height of its vertebra the arch is cut."""
    behind = _depth_of_body(cut) + 15 * cut.size
    return cut.t - _slope(cut) * behind - cut.subject.vertebra(cut.t).arch


def _paint_body(canvas: Canvas, cut: Cut, a: float, b: float) -> None:
    """Body and disc; of a tilted vertebra, each pixel has its own height."""
    slope, y, tissues = _slope(cut), cut.spine_y, cut.tissues
    t = cut.t + slope * (y - canvas.y)
    half_body = (1 - cut.person.discs) / 2
    edge = np.abs(t - t.round()) / half_body  # 1 at the border of the disc
    mm = half_body / max(abs(slope), 1e-3)  # along the slice, from edge = 0 to 1
    body, inside = canvas.cover((1 - edge) * mm), canvas.cover((0.88 - edge) * mm)
    flare = min(1.0, abs(cut.t - round(cut.t)) / half_body) ** 2
    waist = (0.87 + 0.13 * flare) * a, (0.93 + 0.07 * flare) * b
    canvas.ellipse(0, y, *waist, DISC)
    canvas.ellipse(0, y, a, b, DISC, within=1 - body)
    a, b = waist
    canvas.ellipse(0, y, a, b, tissues.cortical, within=body)
    canvas.ellipse(0, y, a - 2.5, b - 2.5, tissues.endplate, within=body)
    canvas.ellipse(0, y, a - 2.5, b - 2.5, tissues.spongy, within=inside)


def _paint_arches(canvas: Canvas, cut: Cut, y: float) -> None:
    """The arches that are cut: that of a vertebra hangs down behind the next."""
    t = _t_of_arch(cut)
    canvas.ellipse(0, y, 15 * cut.size, 10 * cut.size, cut.tissues.other_fat)
    for level in range(max(SACRUM, math.ceil(t - HIGHEST)), math.floor(t - LOWEST) + 1):
        up, wide = t - level, cut.size * profile(level, ARCH_WIDTHS)
        _paint_facets(canvas, cut, y, up, wide)
        if level > SACRUM:
            _paint_lamina(canvas, cut, y, level, up, wide)
            _paint_pedicles(canvas, cut, y, level, up)


def _paint_lamina(canvas: Canvas, cut: Cut, y: float, level: int, up: float, wide: float) -> None:
    """Both halves of the lamina fall backwards to the spinous process."""
    s, cortical = cut.size, cut.tissues.cortical
    joint = y + (17 + 18 * max(0.0, -up - 0.15)) * s
    if LAMINA[0] < up < LAMINA[1]:
        x, begin = (15 - 5 * up) * wide, y + (2.5 - 20 * up) * s
        halves = np.array([[-x, begin], [0, joint], [x, begin]])
        canvas.stroke(halves, (2.8 if up > -0.35 else 3.5) * s, cortical)
    if abs(up + 0.45) < cut.person.spinous / 2:
        long = (15 if level < 5 else 11) * s * cut.subject.vertebra(level).processes
        long *= 1.0 if up > LAMINA[0] else 0.6  # the tip hangs lower than the rest
        tip = y + (44 if level < 5 else 36) * s
        across = 4 * s * cut.person.process_width
        canvas.ellipse(0, tip - long, across, long, cortical, within=canvas.in_wall)


def _paint_pedicles(canvas: Canvas, cut: Cut, y: float, level: int, up: float) -> None:
    """From the body to the lamina, and the transverse processes beside them."""
    s, cortical = cut.size, cut.tissues.cortical
    if PEDICLES[0] < up < PEDICLES[1]:
        canvas.pair(15.5 * s, y - 5 * s, 5 * s, 10 * s, cortical)
    if abs(up - 0.12) < cut.person.transverse / 2:
        length = profile(level, TRANSVERSE) * s * cut.subject.vertebra(level).processes
        length *= np.cos(0.6 * np.pi * (up - 0.12))
        rise = (11 if level < 5 else 16) * s
        for side in (-1, 1):
            process = np.array([[side * 17 * s, y + 2 * s], [side * length, y + rise]])
            canvas.stroke(process, 4 * s * cut.person.process_width, cortical)


def _paint_facets(canvas: Canvas, cut: Cut, y: float, up: float, wide: float) -> None:
    """The joints with the vertebra above."""
    s, cortical = cut.size, cut.tissues.cortical
    if FACETS[0] < up < FACETS[1]:
        canvas.pair(20 * wide, y + 9 * s, 5.5 * s, 7.5 * s, cortical, turn=0.5)
        canvas.pair(14.5 * wide, y + 13 * s, 4.5 * s, 7 * s, cortical, turn=0.5)
        joint = np.array([[14 * wide, y + 6 * s], [20 * wide, y + 15 * s]])
        canvas.stroke(joint, 0.8, SOFT)
        canvas.stroke(joint * [-1, 1], 0.8, SOFT)


def _paint_osteophytes(canvas: Canvas, cut: Cut, a: float, b: float) -> None:
    """Spurs of the endplates, beside and in front of the disc."""
    length, sides = cut.person.osteophytes, cut.subject.osteophyte_sides
    if not length:
        return
    for i in range(3):
        angle = np.pi * (1 + sides[(3 * round(cut.t) + i) % len(sides)])  # left, front, right
        x, y = a * np.cos(angle), b * np.sin(angle)
        t = cut.t - _slope(cut) * y
        if 0.25 < abs(t - round(t)) < 0.48:
            canvas.ellipse(
                x, cut.spine_y + y, 3 + length, 4, cut.tissues.cortical, turn=float(angle)
            )


def paint_screws(canvas: Canvas, cut: Cut) -> None:
    """Through the pedicles of two neighbouring vertebrae."""
    t = _t_of_arch(cut)
    if not cut.person.screws or round(t) - cut.subject.screw_level not in (0, 1):
        return
    if abs(t - round(t) - 0.1) < 0.09:
        s, y = cut.size, cut.spine_y
        for side in (-1, 1):
            screw = np.array([[side * 10 * s, y - 5 * s], [side * 26 * s, y + 46 * s]])
            canvas.stroke(screw, 3, METAL)


def paint_ribs(canvas: Canvas, cut: Cut) -> None:
    """Each rib starts at its vertebra, falls on the way to the side, and rises in front."""
    # 0 where a rib reaches the wall, 1 beside the middle of the front.
    v = np.linspace(-0.15, 1, 70)
    course = np.interp(v, [0, 0.3, RIB_BONE, 0.8, 1], [0, 0.5, 0.88, 1, 0.75])
    for level, fall in RIB_FALLS.items():
        end = cut.person.last_rib if level == LEVEL_OF_LAST_RIB else RIB_ENDS.get(level, 1.0)
        fallen = course if end == 1.0 else v.clip(0) / max(end, 0.05)
        height = level + 0.15 + cut.person.ribs - cut.person.rib_fall * fall * fallen
        met = np.flatnonzero((np.abs(height - cut.t) < RIB_HEIGHT / 2) & (v <= end))
        for run in np.split(met, np.flatnonzero(np.diff(met) > 1) + 1):
            if len(run) > 1:
                _paint_rib(canvas, cut, v[run])


def _paint_rib(canvas: Canvas, cut: Cut, v: np.ndarray) -> None:
    """A stretch of a rib on both sides, inside the muscles of the wall; its front is cartilage."""
    angle = np.pi / 2 - 0.75 - v.clip(0) * 1.95  # from beside the muscles of the back
    middle = np.minimum((cut.wall + cut.diaphragm) / 2, cut.diaphragm + 5)
    mirrored = (2 * np.pi - angle) % (2 * np.pi) - np.pi
    size, spine = cut.size, np.array([0, cut.spine_y])
    root, process = spine + size * np.array([[22, 16], [31, 36]])
    to_process, to_root = (v / -0.1).clip(0, 1)[:, None], ((v + 0.1) / -0.05).clip(0)[:, None]
    for side, where in ((1, angle), (-1, mirrored)):
        path = np.interp(where, ANGLES, middle)[:, None] * np.stack(
            [np.cos(angle), np.sin(angle)], 1
        )
        path += to_process * (process - path) + to_root * (root - process)
        path *= [side, 1]
        bone = v < RIB_BONE
        if bone.sum() > 1:
            canvas.stroke(path[bone], RIB_RADIUS * size, cut.tissues.cortical)
            canvas.stroke(path[bone], RIB_RADIUS * size - RIB_SHELL, cut.tissues.spongy)
        if (~bone).sum() > 1:
            canvas.stroke(path[~bone], CARTILAGE_RADIUS * size, cut.tissues.cartilage)
