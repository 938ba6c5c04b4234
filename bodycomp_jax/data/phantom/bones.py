"""Painting the spine and the ribs."""

import math

import numpy as np

from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.curves import ANGLES, profile
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.subject import L1, T12
from bodycomp_jax.data.phantom.tissue import CORD, DISC, FLUID, METAL, SOFT, Tissue

LAST_LUMBAR, LAST_DISC = 0, -0.55  # v: of the middle of its body, of the lower border of its disc
# The parts of an arch along the spine, in v from the middle of its vertebral body: from where to
# where they reach; of processes, whose extent differs between people, the middle; of all, the ends.
LAMINA, PEDICLES, FACETS = (-0.68, 0.0), (-0.1, 0.27), (0.1, 0.44)
SPINOUS, TRANSVERSE = -0.45, 0.1
LOWEST, HIGHEST = -0.85, 0.44
# By the t of their vertebra, times that at L3
ARCH_WIDTHS: dict[float, float] = {0: 1.2, 1: 1.1, 2: 1.0, 4: 0.85, 8: 0.75}
REACH = {0: 40, 1: 41, 2: 46, 3: 42, 4: 35, 5: 26, 6: 29, 8: 32}  # of transverse processes, mm
# mm: half the length of a spinous process, and where it ends behind the middle of the canal
HALF_SPINOUS, HALF_SPINOUS_OF_CHEST = (15, 44), (11, 36)
# t by which a rib falls to its end, by the t of its vertebra: rib 12 starts at T12
RIB_FALLS = {4: 1.0, 5: 1.7, 6: 3.2, 7: 4.4, 8: 5.1, 9: 5.6, 10: 6.0, 11: 6.5}
RIB_ENDS = {6: 0.55}  # where the eleventh stops on the way to the front; the twelfth differs
RIB_BONE = 0.65  # where the cartilage of the others begins on this way
RIB_HEIGHT = 0.26  # t, from edge to edge
RIB_RADIUS, CARTILAGE_RADIUS = 3.2, 3.8  # mm
SHELL = 1.0  # mm of cortical bone around spongy bone


def paint_sacrum(canvas: Canvas, cut: Cut) -> None:
    """Its alae and its canal begin behind the last vertebra, as it leans back."""
    v, s, y = cut.v, cut.size, cut.spine_y
    leaning = v - 0.25 * cut.person.lordosis  # at what v what lies behind the bodies is cut
    ala = profile(leaning, {-1.7: 0, -1.4: 1, -0.6: 1, -0.15: 0}) * s
    a = profile(v, {-5: 0, -4.5: 8, -3.5: 20, -2: 38, -1: 50}) * s
    b = profile(v, {-5: 0, -4.5: 6, -3.5: 8, -2: 13, -1: 19}) * s * cut.person.bodies
    parts = [(33 * s, 19 * s, 23 * ala, 12 * ala, -0.2)]
    if v <= LAST_DISC:
        parts += [(0.55 * a, 8 * s, 0.5 * a, 0.95 * b, 0.3), (0, 0, 0.62 * a, b, 0)]
    for shell, tissue in _layers(cut, 2.5):
        for x, behind, wide, deep, turn in parts:
            canvas.pair(x, y + behind, wide - shell, deep - shell, tissue, turn=turn)
    canal = profile(leaning, {-4: 0, -3: 0.4, -1: 1, -0.5: 1, -0.4: 0}) * s
    if canal:
        halves = np.array([[-17, 4], [0, 17], [17, 4]]) * canal + [0, y + b]
        crest = np.array([[0, 17], [0, 25]]) * canal + [0, y + b]
        canvas.stroke(halves, 3 * canal, cut.tissues.cortical)
        canvas.stroke(crest, 2 * canal, cut.tissues.cortical)
        canvas.ellipse(0, y + b + 7 * s, 11 * canal, 6 * canal, FLUID)
    if v <= LAST_DISC and abs((v + 0.5) % 1 - 0.5) > 0.25:
        foramen = profile(v, {-4: 0, -3: 0.4, -1: 1}) * s
        canvas.pair(0.4 * a, y + 5 * s, 4.5 * foramen, 5 * foramen, cut.tissues.other_fat)


def paint_vertebra(canvas: Canvas, cut: Cut) -> None:
    """Body or disc, or parts of both where the vertebra is tilted, and arches behind them."""
    s, y = cut.size, cut.spine_y
    a, b = cut.half_width_of_body, _depth_of_body(cut)
    canal = y + b + 6 * s
    above_sacrum = cut.v >= LAST_DISC
    if above_sacrum:
        canvas.ellipse(0, canal, 15 * s, 10 * s, cut.tissues.other_fat)
    _paint_arches(canvas, cut, canal)
    if above_sacrum:
        _paint_body(canvas, cut, a, b)
        _paint_osteophytes(canvas, cut, a, b)
        canvas.ellipse(0, canal, 9 * s, 7.5 * s, CORD)


def _depth_of_body(cut: Cut) -> float:
    """From its middle to the front, mm."""
    return (18.5 - 0.25 * cut.t) * cut.size * cut.person.bodies


def _slope(cut: Cut) -> float:
    """By how much v grows per mm towards the front."""
    subject, v = cut.subject, max(0.0, cut.v)
    above, below = (subject.z(subject.landmark(v + half)) for half in (0.5, -0.5))
    return math.tan(math.radians(subject.vertebra(v).tilt)) / (above - below)


def _v_of_arch(cut: Cut) -> float:
    """At what v the arches are cut, which are tilted with their vertebrae."""
    behind = _depth_of_body(cut) + 15 * cut.size
    return cut.v - _slope(cut) * behind - cut.subject.vertebra(max(0.0, cut.v)).arch


def _paint_body(canvas: Canvas, cut: Cut, a: float, b: float) -> None:
    """Body and disc; of a tilted vertebra, each pixel has its own height."""
    y, tissues = cut.spine_y, cut.tissues
    slope = _slope(cut) * min(1.0, (cut.v - LAST_DISC) / 0.45)  # the last disc ends level
    v = cut.v + slope * (y - canvas.y)
    half_height = (1 - cut.person.discs) / 2
    edge = np.abs(v - v.round()) / half_height  # 1 at the border of the disc
    mm = half_height / max(abs(slope), 1e-3)  # along the slice, from edge = 0 to 1
    body, inside = canvas.cover((1 - edge) * mm), canvas.cover((0.88 - edge) * mm)
    flare = min(1.0, abs(cut.v - round(cut.v)) / half_height) ** 2
    waist = (0.87 + 0.13 * flare) * a, (0.93 + 0.07 * flare) * b
    canvas.ellipse(0, y, *waist, DISC)
    canvas.ellipse(0, y, a, b, DISC, within=1 - body)
    a, b = waist
    canvas.ellipse(0, y, a, b, tissues.cortical, within=body)
    canvas.ellipse(0, y, a - SHELL, b - SHELL, tissues.endplate, within=body)
    uneven = 0.2 * tissues.spongy.hu
    canvas.ellipse(0, y, a - SHELL, b - SHELL, tissues.spongy, within=inside, uneven=uneven)


def _paint_arches(canvas: Canvas, cut: Cut, y: float) -> None:
    """The arches that are cut: that of a vertebra hangs down behind the next."""
    at = _v_of_arch(cut)
    for v in range(max(LAST_LUMBAR - 1, math.ceil(at - HIGHEST)), math.floor(at - LOWEST) + 1):
        up, wide = at - v, cut.size * profile(cut.subject.landmark(v), ARCH_WIDTHS)
        _paint_facets(canvas, cut, y, up, wide)
        if v >= LAST_LUMBAR:
            _paint_lamina(canvas, cut, y, up, wide)
            _paint_spinous_process(canvas, cut, y, v, up)
            _paint_pedicles(canvas, cut, y, v, up)


def _paint_lamina(canvas: Canvas, cut: Cut, y: float, up: float, wide: float) -> None:
    """Its halves meet behind the canal, further back lower down, where they end in the joints."""
    if LAMINA[0] < up < LAMINA[1]:
        s = cut.size
        x, begin = (15 - 5 * up) * wide, y + (2.5 - 20 * up) * s
        halves = np.array([[-x, begin], [0, y + _behind_canal(up) * s], [x, begin]])
        _stroke_bone(canvas, cut, (halves, np.interp(-up, [0.25, 0.45], [2.8, 3.5]) * s))


def _behind_canal(up: float) -> float:
    """Where the halves of a lamina meet, mm behind the middle of the canal."""
    return 17 + 18 * max(0.0, -up - 0.15)


def _paint_spinous_process(canvas: Canvas, cut: Cut, y: float, v: int, up: float) -> None:
    """It falls backwards: its tip hangs lower than its root."""
    if abs(up - SPINOUS) < cut.person.spinous / 2:
        s, is_lumbar = cut.size, cut.subject.landmark(v) < T12
        half, tip = HALF_SPINOUS if is_lumbar else HALF_SPINOUS_OF_CHEST
        half *= cut.subject.vertebra(v).processes * np.interp(-up, [0.6, 0.75], [1, 0.6]) * s
        across = 4 * s * cut.person.process_width
        middle = y + tip * s - half
        for shell, tissue in _layers(cut):
            canvas.ellipse(0, middle, across - shell, half - shell, tissue, within=canvas.in_wall)


def _paint_pedicles(canvas: Canvas, cut: Cut, y: float, v: int, up: float) -> None:
    """From the body to the lamina, and the transverse processes beside them."""
    s, t = cut.size, cut.subject.landmark(v)
    if PEDICLES[0] < up < PEDICLES[1]:
        for shell, tissue in _layers(cut):
            canvas.pair(15.5 * s, y - 5 * s, 5 * s - shell, 10 * s - shell, tissue)
    joined = cut.person.sacralisation if v == LAST_LUMBAR else 0.0
    if -0.4 * joined < up - TRANSVERSE + cut.person.transverse / 2 < cut.person.transverse:
        length = np.interp(t, list(REACH), list(REACH.values())) * s
        shorter = np.cos(0.6 * np.pi * (up - TRANSVERSE) * (1 - joined))
        length *= cut.subject.vertebra(v).processes * shorter * (1 + 0.2 * joined)
        rise = (11 * (1 - joined) if t < T12 else 16) * s
        root, tip = np.array([[17 * s, y + 2 * s], [length, y + rise]])
        thick = 4 * s * cut.person.process_width * (1 + 1.2 * joined)
        for side in ([-1, 1], [1, 1]):
            whole, thicker_half = np.array([[root, tip], [root, (root + tip) / 2]]) * side
            _stroke_bone(canvas, cut, (whole, 0.6 * thick), (thicker_half, thick))


def _paint_facets(canvas: Canvas, cut: Cut, y: float, up: float, wide: float) -> None:
    """The joints with the vertebra above."""
    s, cortical = cut.size, cut.tissues.cortical
    if FACETS[0] < up < FACETS[1]:
        canvas.pair(20 * wide, y + 9 * s, 5.5 * s, 7.5 * s, cortical, turn=0.5)
        canvas.pair(14.5 * wide, y + 13 * s, 4.5 * s, 7 * s, cortical, turn=0.5)
        joint = np.array([[14 * wide, y + 6 * s], [20 * wide, y + 15 * s]])
        canvas.stroke(joint, 0.8, SOFT)
        canvas.stroke(joint * [-1, 1], 0.8, SOFT)


def _layers(cut: Cut, shell: float = SHELL) -> list[tuple[float, Tissue]]:
    """Cortical bone, and `shell` mm inside its border spongy bone."""
    return [(0.0, cut.tissues.cortical), (shell, cut.tissues.spongy)]


def _stroke_bone(canvas: Canvas, cut: Cut, *strokes: tuple[np.ndarray, float]) -> None:
    """Paths and their radii, mm, that are one bone: cortical around spongy."""
    for shell, tissue in _layers(cut):
        for path, radius in strokes:
            if radius > shell:
                canvas.stroke(path, radius - shell, tissue)


def _paint_osteophytes(canvas: Canvas, cut: Cut, a: float, b: float) -> None:
    """Spurs of the endplates, beside and in front of the disc."""
    length, sides = cut.person.osteophytes, cut.subject.osteophyte_sides
    if not length:
        return
    for i in range(3):
        angle = np.pi * (1 + sides[(3 * round(cut.v) + i) % len(sides)])  # left, front, right
        x, y = a * np.cos(angle), b * np.sin(angle)
        v = cut.v - _slope(cut) * y
        if 0.25 < abs(v - round(v)) < 0.48:
            canvas.ellipse(
                x, cut.spine_y + y, 3 + length, 4, cut.tissues.cortical, turn=float(angle)
            )


def paint_screws(canvas: Canvas, cut: Cut) -> None:
    """Through the pedicles of two neighbouring vertebrae."""
    v = _v_of_arch(cut)
    if not cut.person.screws or round(v) - cut.subject.screw_level not in (0, 1):
        return
    if abs(v - round(v) - 0.1) < 0.09:
        s, y = cut.size, cut.spine_y
        for side in (-1, 1):
            screw = np.array([[side * 10 * s, y - 5 * s], [side * 26 * s, y + 46 * s]])
            canvas.stroke(screw, 3, METAL)


def paint_ribs(canvas: Canvas, cut: Cut) -> None:
    """Each rib starts at its vertebra, falls on the way to the side, and rises in front."""
    # 0 where a rib reaches the wall, 1 beside the middle of the front.
    way = np.linspace(-0.15, 1, 70)
    course = np.interp(way, [0, 0.3, RIB_BONE, 0.8, 1], [0, 0.5, 0.88, 1, 0.75])
    ends = {L1: cut.person.lumbar_rib, T12: cut.person.last_rib, **RIB_ENDS}
    for level, fall in RIB_FALLS.items():
        if level == L1 and not cut.person.lumbar_rib:
            continue
        end = ends.get(level, 1.0)
        fallen = course if end == 1.0 else way.clip(0) / max(end, 0.05)
        height = level + 0.15 + cut.person.ribs - cut.person.rib_fall * fall * fallen
        met = np.flatnonzero((np.abs(height - cut.t) < RIB_HEIGHT / 2) & (way <= end))
        for run in np.split(met, np.flatnonzero(np.diff(met) > 1) + 1):
            if len(run) > 1:
                thick = cut.size * cut.subject.vertebra(cut.subject.v(level)).processes
                _paint_rib(canvas, cut, way[run], thick)


def _paint_rib(canvas: Canvas, cut: Cut, way: np.ndarray, thick: float) -> None:
    """A stretch of a rib on both sides, inside the muscles of the wall; its front is cartilage."""
    angle = np.pi / 2 - 0.75 - way.clip(0) * 1.95  # from beside the muscles of the back
    middle = np.minimum((cut.wall + cut.diaphragm) / 2, cut.diaphragm + 5)
    mirrored = (2 * np.pi - angle) % (2 * np.pi) - np.pi
    size, spine = cut.size, np.array([0, cut.spine_y])
    root, process = spine + size * np.array([[22, 16], [31, 36]])
    to_process, to_root = (way / -0.1).clip(0, 1)[:, None], ((way + 0.1) / -0.05).clip(0)[:, None]
    for side, where in ((1, angle), (-1, mirrored)):
        path = np.interp(where, ANGLES, middle)[:, None] * np.stack(
            [np.cos(angle), np.sin(angle)], 1
        )
        path += to_process * (process - path) + to_root * (root - process)
        path *= [side, 1]
        bone = way < RIB_BONE
        if bone.sum() > 1:
            _stroke_bone(canvas, cut, (path[bone], RIB_RADIUS * thick))
        if (~bone).sum() > 1:
            canvas.stroke(path[~bone], CARTILAGE_RADIUS * thick, cut.tissues.cartilage)
