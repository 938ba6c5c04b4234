"""Synthetic CT of a whole trunk, from the pelvis to the lungs, with the heights of its vertebrae.

Along the body, `t` counts vertebrae: 0 is the middle of L5, 1 that of L4, 8 that of T9, and the
sacrum is below -0.5; each body has its own mm from one to the next. In a slice, lengths are mm
from the middle of the body, x to the right of the picture, y downwards (to the patient's back).
Everything is drawn once per body and is smooth along it: a slice shows where it is cut.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.phantom.slices import (
    AIR_HU,
    ANGLES,
    BACK,
    CORTICAL_HU,
    FAT_HU,
    FIELD_OF_VIEW,
    FRONT,
    GAS_HU,
    MUSCLE_HU,
    RIGHT,
    SKIN_HU,
    SKIN_MM,
    smooth_noise,
    wave,
)
from bodycomp_jax.data.slice_selection import write_split

LEVELS = ('L5', 'L4', 'L3', 'L2', 'L1', 'T12', 'T11', 'T10', 'T9')  # t = 0, 1, ...
LUNG_HU, DISC_HU, CARTILAGE_HU, SOFT_HU, FLUID_HU = -850, 80, 120, 40, 10
BODY_SHARE = 0.76  # of the height of a vertebra and its disc
RIB_DROPS = {5: 1.7, 6: 3.1, 7: 4.1, 8: 4.5, 9: 4.7, 10: 4.9, 11: 5.0}  # rib 12 starts at T12
RIB_ENDS = {5: 0.3, 6: 0.55}  # the floating ribs stop on the way to the front


class Series(NamedTuple):
    """A CT from the feet to the head."""

    hu: np.ndarray  # [N, side, side] int16
    z: np.ndarray  # [N] mm, increasing towards the head
    levels: dict  # mm of the middle of each vertebral body, by name


def write_dataset(data_dir, *, train, val, side, spacing, seed=0, levels=('L3',)):
    """Writes a slice-selection training set of phantoms; no body is in both splits.

    Args:
      data_dir: an existing folder.
      train, val: bodies in each split.
      side: of a slice, in pixels.
      spacing: mm between slices.
      seed: of the first body; the following bodies have the following seeds.
      levels: a subset of `LEVELS`.
    """
    first = seed
    for split, n in (('train', train), ('val', val)):
        seeds = range(first, first + n)
        bodies = [draw(s, side, spacing) for s in seeds]
        names = [f'body_{s:06d}' for s, body in zip(seeds, bodies, strict=True) for _ in body.z]
        images = np.concatenate([ct.window(body.hu).round().astype(np.uint8) for body in bodies])
        offsets = {
            level: np.concatenate([body.z - body.levels[level] for body in bodies])
            for level in levels
        }
        write_split(data_dir, split, images, offsets, names)
        first += n


def draw(seed, side, spacing):
    """The CT of the body that belongs to `seed`: slices of `side` pixels, `spacing` mm apart."""
    rng = np.random.default_rng(seed)
    body = _Body(rng)
    z = np.arange(0, body.top, spacing)
    hu = np.stack([_draw_slice(body, t, side, rng) for t in body.t(z)])
    levels = {level: float(body.z(t)) for t, level in enumerate(LEVELS)}
    return Series(hu, z, levels)


def _draw_slice(body, t, side, rng):
    cut = _Slice(body, t, side)
    cut.paint_layers()
    for paint in (
        _paint_bowel,
        _paint_organs,
        _paint_vessels,
        _paint_lungs,
        _paint_back,
        _paint_psoas,
        _paint_buttocks,
        _paint_pelvis,
        _paint_sacrum,
        _paint_vertebra,
        _paint_ribs,
    ):
        paint(cut, body)
    noise = smooth_noise(rng, (side, side), body.noise, passes=1)
    return (cut.hu + noise).round().clip(-1024, 3071).astype(np.int16)


class _Ellipsoid(NamedTuple):
    """x, y, a, b in mm, t and h in vertebrae; `slant`: mm in x per vertebra."""

    x: float
    y: float
    t: float
    a: float
    b: float
    h: float
    hu: float
    turn: float = 0.0
    slant: float = 0.0
    gas: float | None = None  # where the gas above the fluid ends: -1 is its front, 1 its back


class _Body:
    """All that is drawn once: vertebrae, outline, marks along the spine, and organs."""

    def __init__(self, rng):
        vertebra = rng.uniform(29.5, 37)
        heights = vertebra * (1 - 0.018 * np.arange(-7, 12)) * rng.normal(1, 0.01, 19)
        self.counts = np.arange(-7, 12)
        self.heights = np.cumsum(heights)
        self.heights += rng.uniform(145, 155) - self.heights[7]
        self.top = self.z(8) + rng.uniform(0, 12)
        self.size = (vertebra / 33) ** 0.6 * rng.uniform(0.95, 1.05)
        self.half_width = 121 * self.size * rng.uniform(0.95, 1.06)
        self.half_depth = self.half_width * rng.uniform(0.64, 0.72)
        self.fat = rng.uniform(5, 34)
        self.belly = rng.uniform(-0.1, 0.15) + 0.01 * self.fat
        self.wall = rng.uniform(9, 15)
        self.muscle = rng.uniform(0.9, 1.12)
        self.waves = wave(rng, 0.012), wave(rng, 0.07)
        self.offset = rng.uniform(-5, 5, 2)
        self.noise = rng.uniform(8, 16)
        self.couch = self.outline(2.0)[0][BACK]
        self.spongy = rng.uniform(130, 220)
        self.blood = rng.uniform(40, 190)
        self.crest = 0.6 + rng.normal(0, 0.07)
        self.bifurcation = 0.95 + rng.normal(0, 0.1)
        self.rib_shift = rng.normal(0, 0.06)
        self.psoas_shift = rng.normal(0, 0.08)
        self._draw_organs(rng)
        self._draw_bowel(rng)

    def t(self, z):
        return np.interp(z, self.heights, self.counts)

    def z(self, t):
        return np.interp(t, self.counts, self.heights)

    def outline(self, t):
        """Radii at `ANGLES` of skin, muscular wall and cavity."""
        cos, sin = np.cos(ANGLES), np.sin(ANGLES)
        width = _profile(t, {-5: 1.1, -2: 1.1, 0: 1.02, 2: 0.94, 4: 0.98, 6: 1.06, 9: 1.12})
        depth = _profile(t, {-5: 1.12, -1: 1.08, 1: 1.0, 4: 1.0, 8: 1.12})
        belly = _profile(t, {-5: 0.1, -2: 0.7, 1: 1.0, 4: 0.7, 8: 0.4})
        half_depth = self.half_depth * depth * np.where(sin < 0, 1 + self.belly * belly, 1)
        flat = 2.3
        radii = np.abs(cos / (self.half_width * width)) ** flat + np.abs(sin / half_depth) ** flat
        wall = radii ** (-1 / flat) * (1 + self.waves[0])
        thick = _profile(t, {-5: 1.3, -1: 1.25, 2: 1.0, 5: 0.7, 8: 0.6})
        behind = _profile(t, {-4: 0.4, -1: 0.35, 2: 0.2, 6: 0.0})
        fat = self.fat * thick * (1 + behind * sin**3 + 0.2 * cos**4) * (1 + self.waves[1])
        thin = 1 - 0.75 * np.exp(-(((ANGLES + np.pi / 2) / 0.16) ** 2))
        return wall + fat + SKIN_MM, wall, wall - self.wall * thin

    def place(self, x, y):
        """Shares of the cavity's half width and of its depth in front or behind, in mm."""
        return x * self.cavity[RIGHT], y * self.cavity[BACK if y > 0 else FRONT]

    def _draw_organs(self, rng):
        self.cavity = self.outline(3.5)[2]
        w, d = self.cavity[RIGHT], self.cavity[BACK]

        def organ(x, y, t, a, b, h, hu, **more):
            x, y = self.place(x + rng.normal(0, 0.02), y + rng.normal(0, 0.02))
            a, b, h = (a, b, h) * rng.normal(1, 0.04, 3)
            return _Ellipsoid(x, y, t + rng.normal(0, 0.12), a, b, h, hu, **more)

        liver, spleen, kidney = rng.uniform(55, 110), rng.uniform(50, 110), rng.uniform(35, 180)
        gas = rng.uniform(-0.6, 0.3)
        self.domes = (
            organ(-0.48, -0.2, 4.2, 0.7 * w, 1.3 * d, 5.0, FAT_HU),
            organ(0.5, -0.2, 4.2, 0.68 * w, 1.3 * d, 4.2, FAT_HU),
            organ(0.0, -0.8, 5.0, 0.4 * w, 0.9 * d, 5.0, FAT_HU),
        )
        self.organs = (
            organ(0.1, -0.05, 4.2, 0.3 * w, 11, 0.6, SOFT_HU, turn=-0.3),
            organ(-0.55, -0.1, 6.2, 0.52 * w, 0.95 * d, 3.7, liver, turn=0.25, slant=-1.5),
            organ(0.0, -0.62, 6.4, 0.5 * w, 0.45 * d, 1.9, liver, turn=-0.1),
            organ(-0.42, -0.5, 3.7, 15, 20, 0.9, FLUID_HU),
            organ(0.76, 0.25, 6.1, 0.2 * w, 0.5 * d, 1.9, spleen, turn=-0.3),
        )
        self.stomach = organ(0.42, -0.3, 6.0, 0.34 * w, 0.5 * d, 2.5, 30, turn=0.4, gas=gas)
        self.heart = organ(0.14, -0.45, 9.3, 0.46 * w, 0.62 * d, 2.3, 0.9 * self.blood, turn=0.4)
        self.kidneys = (
            organ(-0.56, 0.3, 3.7, 26, 29, 1.75, kidney, turn=-0.5, slant=4),
            organ(0.56, 0.3, 3.95, 26, 29, 1.75, kidney, turn=0.5, slant=-4),
        )
        self.bladder = organ(0, -0.3, -4.0, 38, 30, 1.3, FLUID_HU)
        self.hip_t = -4.35 + rng.normal(0, 0.08)
        self.vessels = [
            _Ellipsoid(x * w, y * d, t, a, b, h, 20, turn)
            for x, y, t, a, b, h, turn in rng.uniform(
                (-0.9, -0.9, 6, 1.5, 2, 0.2, 0), (0.9, 0.9, 9, 4, 8, 0.6, np.pi), (60, 7)
            )
        ]

    def _draw_bowel(self, rng):
        """Small loops in front, the colon up one side, across, and down the other."""

        def loop(x, y, t, low, high):
            a, b = rng.uniform(low, high, 2)
            gas = rng.uniform(-0.6, 0.8) if rng.random() < 0.3 else None
            hu, turn = rng.uniform(-20, 45), rng.uniform(0, np.pi)
            return _Ellipsoid(
                *self.place(x, y), t, a, b, rng.uniform(low, high) / 25, hu, turn, gas=gas
            )

        uniform = rng.uniform
        n = rng.integers(70, 120)
        self.bowel = [
            loop(uniform(-0.65, 0.65), uniform(-0.8, -0.1), uniform(-3, 3.2), 12, 22)
            for _ in range(n)
        ]
        for side, top in ((-1, 2.6), (1, 4.2)):
            for t in np.arange(-1.2, top, 0.8):
                x, y = side * uniform(0.76, 0.84), uniform(0.0, 0.25)
                self.bowel.append(loop(x, y, t + uniform(-0.2, 0.2), 16, 24))
        for x in np.linspace(-0.6, 0.6, 6):
            self.bowel.append(loop(x, uniform(-0.85, -0.65), 2.9 + x + uniform(-0.3, 0.3), 16, 24))
        for t in np.arange(-5, -1.6, 0.7):
            self.bowel.append(loop(uniform(-0.06, 0.06), 0.1 - 0.12 * t, t, 15, 21))


class _Slice:
    """HU of a slice, and the ways of painting on it: borders are mixtures, a pixel wide."""

    def __init__(self, body, t, side):
        self.t, self.size = t, body.size
        self.skin, self.wall, self.cavity = body.outline(t)
        self.width, self.depth = self.cavity[RIGHT], self.cavity[BACK]
        self.spine_y = self.depth * _profile(
            t, {-4: 0.8, -2: 0.7, -1: 0.52, 0: 0.42, 2: 0.34, 5: 0.4, 8: 0.46}
        )
        self.pixel = FIELD_OF_VIEW / side
        lordosis = 7 * _profile(t, {-2: 0, 1: 1, 3: 1, 6: 0})
        x0, y0 = body.offset[0], body.couch - self.skin[BACK] - lordosis + body.offset[1]
        positions = (np.arange(side, dtype=np.float32) + 0.5) * self.pixel - FIELD_OF_VIEW / 2
        self.x, self.y = positions[None] - float(x0), positions[:, None] - float(y0)
        self.couch = self.y - float(self.skin[BACK] + lordosis + 1.5) + self.x**2 / 1500
        self.hu = np.full((side, side), AIR_HU, np.float32)

    def paint_layers(self):
        """The couch, skin, subcutaneous fat, the muscular wall, and the fat of the cavity."""
        for shell, half, hu in ((8.0, 8.0, -880), (1.2, 1.2, -120), (15.0, 1.2, -120)):
            self.fill(self._cover(half - np.abs(self.couch - shell)) * (np.abs(self.x) < 200), hu)
        radius = np.hypot(self.x, self.y)
        per_radian = (len(ANGLES) - 1) / (2 * np.pi)
        i = (np.arctan2(self.y, self.x) * per_radian + len(ANGLES) // 2).astype(np.intp)
        self.in_skin, self.in_fat, self.in_wall, self.in_cavity = (
            self._cover(radii.astype(np.float32)[i] - radius)
            for radii in (self.skin, self.skin - SKIN_MM, self.wall, self.cavity)
        )
        self.fill(self.in_skin, SKIN_HU)
        self.fill(self.in_fat, FAT_HU)
        self.fill(self.in_wall, MUSCLE_HU)
        self.fill(self.in_cavity, FAT_HU)

    def fill(self, share, hu, window=(slice(None), slice(None))):
        """Mixes `share` (0..1 in each pixel of the window) of a tissue into what is there."""
        self.hu[window] += share * (float(hu) - self.hu[window])

    def ellipse(self, x, y, a, b, hu, *, turn=0.0, within=None, above=None):
        """An ellipse with half axes a and b, `turn` radians clockwise.

        Only inside the coverage `within` and in front of the line y = `above`.
        """
        if min(a, b) < 0.5:
            return
        x, y, a, b = float(x), float(y), float(a), float(b)  # numpy's floats would widen the pixels
        window, dx, dy = self._near(x, y, x, y, max(a, b))
        dx, dy = dx - x, dy - y
        cos, sin = float(np.cos(turn)), float(np.sin(turn))
        u, v = dx * cos + dy * sin, dy * cos - dx * sin
        share = self._cover((1 - np.sqrt((u / a) ** 2 + (v / b) ** 2)) * min(a, b))
        if above is not None:
            share = share * (dy < above - y)
        self.fill(share if within is None else share * within[window], hu, window)

    def pair(self, x, y, a, b, hu, *, turn=0.0, within=None):
        """An ellipse and its mirror image."""
        for side in (-1, 1):
            self.ellipse(side * x, y, a, b, hu, turn=side * turn, within=within)

    def ellipsoid(self, e, hu=None, *, shrink=0.0, within=None):
        """The cut through an `_Ellipsoid`, `shrink` mm inside its border."""
        scale = self._scale(e)
        a, b = e.a * scale - shrink, e.b * scale - shrink
        x = e.x + e.slant * (self.t - e.t)
        hu = e.hu if hu is None else hu
        self.ellipse(x, e.y, a, b, hu, turn=e.turn, within=within)
        if e.gas is not None and shrink:
            level = e.y + e.gas * e.b
            self.ellipse(x, e.y, a, b, GAS_HU, turn=e.turn, within=within, above=level)

    def stroke(self, points, radius, hu, within=None):
        """A line of `[n, 2]` mm, 2 `radius` thick, with round ends."""
        window, x, y = self._near(*points.min(0), *points.max(0), radius)
        distance = np.inf
        for (x0, y0), (x1, y1) in pairwise(points.tolist()):
            dx, dy = x1 - x0, y1 - y0
            along = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy + 1e-6)
            along = along.clip(0, 1)
            distance = np.minimum(distance, (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2)
        share = self._cover(radius - np.sqrt(distance))
        self.fill(share if within is None else share * within[window], hu, window)

    def outside(self, e):
        """Where the slice is outside an `_Ellipsoid`: 0..1 in each pixel."""
        scale = max(self._scale(e), 1e-3)
        x, y, a, b = float(e.x), float(e.y), float(e.a * scale), float(e.b * scale)
        distance = np.sqrt(((self.x - x) / a) ** 2 + ((self.y - y) / b) ** 2)
        return self._cover((distance - 1) * min(a, b))

    def _scale(self, e):
        """Of the half axes of an `_Ellipsoid`: 1 in its middle, 0 beyond its ends."""
        return max(0.0, 1 - ((self.t - e.t) / e.h) ** 2) ** 0.5

    def _cover(self, depth):
        """The share of a pixel that is inside a border, `depth` mm behind its middle."""
        return (depth / self.pixel + 0.5).clip(0, 1)

    def _near(self, x0, y0, x1, y1, reach):
        """The window `reach` mm around a rectangle, and the x and y of its pixels."""
        reach = reach + self.pixel
        rows = slice(*np.searchsorted(self.y[:, 0], (y0 - reach, y1 + reach)))
        columns = slice(*np.searchsorted(self.x[0], (x0 - reach, x1 + reach)))
        return (rows, columns), self.x[:, columns], self.y[rows]


def _paint_organs(cut, body):
    inside = cut.in_cavity
    for organ in body.organs:
        cut.ellipsoid(organ, within=inside)
    cut.ellipsoid(body.stomach, SOFT_HU, within=inside)
    cut.ellipsoid(body.stomach, shrink=4, within=inside)
    for kidney in body.kidneys:
        cut.ellipsoid(kidney, within=inside)
        sinus = kidney._replace(
            x=kidney.x * 0.8, y=kidney.y - 5, a=kidney.a * 0.6, b=kidney.b * 0.35, h=1.0, hu=FAT_HU
        )
        cut.ellipsoid(sinus, within=inside)
    cut.ellipsoid(body.bladder, SOFT_HU, within=inside)
    cut.ellipsoid(body.bladder, shrink=3, within=inside)


def _paint_bowel(cut, body):
    for loop in body.bowel:
        if abs(cut.t - loop.t) < loop.h:
            cut.ellipsoid(loop, SOFT_HU, within=cut.in_cavity)
            cut.ellipsoid(loop, shrink=2.5, within=cut.in_cavity)


def _paint_vessels(cut, body):
    """Aorta and vena cava, and the iliac vessels below the fork."""
    t, s, y = cut.t, cut.size, cut.spine_y
    below = body.bifurcation - t
    if below < 0:
        x = _profile(t, {1: 3, 4: 7, 7: 15})
        forward = _profile(t, {1: 28, 5: 29, 7: 24})
        r = _profile(t, {1: 8.5, 6: 11})
        cut.ellipse(x * s, y - forward * s, r * s, r * s, body.blood)
    else:
        x = 7 + 17 * below
        forward = _profile(t, {-4: 75, -2: 48, 0: 30, 1: 28})
        cut.pair(x * s, y - forward * s, 6.5 * s, 6.5 * s, body.blood)
    below -= 0.45
    if below < 0:
        forward = _profile(t, {1: 25, 4: 28, 6: 36, 8: 52})
        cut.ellipse(-17 * s, y - forward * s, 12 * s, 9 * s, 0.8 * body.blood)
    else:
        x = 14 + 16 * below
        forward = _profile(t, {-4: 62, -2: 36, 0: 25, 1: 25})
        cut.pair(x * s, y - forward * s, 7.5 * s, 6 * s, 0.8 * body.blood)


def _paint_lungs(cut, body):
    """Lungs outside the domes of the diaphragm, the heart between them, and the crura below."""
    s, y = cut.size, cut.spine_y
    if cut.t > 4.7:
        lungs = cut.in_cavity * np.prod([cut.outside(dome) for dome in body.domes], axis=0)
        middle = _Ellipsoid(2, y - 35, cut.t, 24 * s, 48, 1.0, FAT_HU)
        lungs *= cut.outside(middle)
        cut.fill(lungs, LUNG_HU)
        for vessel in body.vessels:
            if abs(cut.t - vessel.t) < vessel.h:
                cut.ellipsoid(vessel, within=lungs)
        cut.ellipsoid(body.heart, within=cut.in_cavity)
    thick = _profile(cut.t, {2.2: 0, 4: 1, 6: 1, 7: 0}) * s
    cut.pair(15 * s, y - 21 * s, 4 * thick, 9 * thick, MUSCLE_HU, turn=-0.3)


def _paint_back(cut, body):
    """The muscles along the spine, and the square ones from the crest to rib 12."""
    y, s = cut.spine_y, cut.size * body.muscle
    thick = _profile(cut.t, {-2.2: 0.0, -1: 0.6, 1: 1.0, 4: 0.95, 8: 0.7}) * s
    for x, behind, a, b in ((60, 26, 24, 16), (27, 40, 27, 21)):
        x, a, b = x * (0.4 * s + 0.6 * thick), a * thick, b * thick
        behind = y + behind * s
        cut.pair(x, behind, a + 1.5, b + 1.5, FAT_HU, turn=0.35, within=cut.in_cavity)
        cut.pair(x, behind, a, b, MUSCLE_HU, turn=0.35, within=cut.in_wall)
    thick = _profile(cut.t, {0.3: 0, 1: 1, 2.5: 0.9, 4.8: 0.3, 5.2: 0}) * s
    x = _profile(cut.t, {1: 76, 5: 50}) * s
    cut.pair(x, y + 12 * s, 19 * thick, 8 * thick, MUSCLE_HU, turn=0.5, within=cut.in_cavity)


def _paint_psoas(cut, body):
    """From T12 down it grows; below L5 it leaves the spine and joins the iliacus."""
    t, s = cut.t - body.psoas_shift, cut.size
    thick = _profile(t, {-5: 0.8, -1: 1.0, 1: 1.0, 2: 0.8, 3: 0.58, 4: 0.36, 5: 0.0}) * body.muscle
    x = _profile(t, {-5: 82, -3: 80, -1: 62, 0: 49, 1: 43, 2: 38, 4: 30, 5: 27}) * s
    forward = _profile(t, {-5: 120, -3: 84, -1: 30, 0: 10, 1: 2, 5: 0}) * s
    y, turn = cut.spine_y - forward, _profile(t, {-2: 0.0, 0: 0.2, 2: 0.3})
    cut.pair(x, y, 18 * thick * s, 25 * thick * s, MUSCLE_HU, turn=turn)


def _paint_buttocks(cut, body):
    """Outside the pelvis: gluteal muscles, below the joint of the hip those of the thigh."""
    t, w, d = cut.t, cut.width, cut.depth
    within = cut.in_wall
    thick = _profile(t, {-5: 1.0, -2.5: 1.0, -0.8: 0.5, 0.1: 0})
    cut.pair(
        0.5 * w, 0.86 * d, 0.46 * w * thick, 0.3 * d * thick, MUSCLE_HU, turn=-0.25, within=within
    )
    thick = _profile(t, {-5: 1.0, -2: 1.0, -0.5: 0.7, 0.3: 0})
    cut.pair(
        0.86 * w, 0.25 * d, 0.17 * w * thick, 0.55 * d * thick, MUSCLE_HU, turn=0.2, within=within
    )
    thick = _profile(t, {-5: 1.0, -3.6: 0.8, -2.8: 0})
    cut.pair(0.72 * w, -0.45 * d, 0.2 * w * thick, 0.3 * d * thick, MUSCLE_HU, within=within)
    cut.pair(0.42 * w, 0.12 * d, 0.07 * w * thick, 0.5 * d * thick, MUSCLE_HU, within=within)


def _paint_pelvis(cut, body):
    """The wings below their crests with the iliacus inside, and the heads of the hips."""
    t, w, d, s = cut.t, cut.width, cut.depth, cut.size
    below = body.crest - t
    if below > 0 and t > -4:
        flare = _profile(t, {-4: 0.66, -2: 0.78, 0: 0.92})
        behind, bend = (
            np.array([40 * s, cut.spine_y + 22 * s]),
            np.array([(flare - 0.07) * w, 0.6 * d]),
        )
        front = np.array([flare * w, -0.3 * d])
        half = 0.5 * min(1.0, below / 1.3) ** 0.5
        start = max(0.5 - half, _profile(t, {-3.2: 0.5, -2: 0.0}))
        end = min(0.5 + half, _profile(t, {-4: 0.75, -2: 1.0}))
        v = np.linspace(start, end, 9)[:, None]
        wing = (1 - v) ** 2 * behind + 2 * v * (1 - v) * bend + v**2 * front
        thick = min(1.0, 0.5 + below)
        for side in ([-1, 1], [1, 1]):
            iliacus = (wing[1:] - [9 * s, 5 * s]) * side
            cut.stroke(iliacus, 8 * thick * s, MUSCLE_HU)
            cut.stroke(wing * side, 5.5 * thick * s, CORTICAL_HU)
            cut.stroke(wing * side, 3 * thick * s, body.spongy)
    x, y = 0.7 * w, -0.02 * d
    socket = _Ellipsoid(x - 8 * s, y + 2, body.hip_t, 30 * s, 32 * s, 1.3, CORTICAL_HU)
    head = _Ellipsoid(x, y, body.hip_t, 26 * s, 26 * s, 0.8, DISC_HU)
    trochanter = _Ellipsoid(1.0 * w, 0.2 * d, body.hip_t - 0.5, 15 * s, 20 * s, 0.7, CORTICAL_HU)
    for bone, hu, shrink in (
        (socket, CORTICAL_HU, 0),
        (socket, body.spongy, 3),
        (head, DISC_HU, 0),
        (head, CORTICAL_HU, 2),
        (head, 1.3 * body.spongy, 4),
        (trochanter, CORTICAL_HU, 0),
        (trochanter, body.spongy, 2.5),
    ):
        cut.ellipsoid(bone, hu, shrink=shrink)
        cut.ellipsoid(bone._replace(x=-bone.x), hu, shrink=shrink)


def _paint_sacrum(cut, body):
    t, s, y = cut.t, cut.size, cut.spine_y
    if t > -0.55:
        return
    a = _profile(t, {-4.5: 8, -3.5: 20, -2: 38, -1: 50}) * s
    b = _profile(t, {-4.5: 6, -3.5: 8, -2: 13, -1: 19}) * s
    cut.pair(0.55 * a, y + 8 * s, 0.5 * a, 0.95 * b, CORTICAL_HU, turn=0.3)
    cut.ellipse(0, y, 0.62 * a, b, CORTICAL_HU)
    cut.pair(0.55 * a, y + 8 * s, 0.5 * a - 2.5, 0.95 * b - 2.5, body.spongy, turn=0.3)
    cut.ellipse(0, y, 0.62 * a - 2.5, b - 2.5, body.spongy)
    canal = _profile(t, {-4: 0, -3: 0.4, -1: 1}) * s
    cut.ellipse(0, y + b + 9 * s, 17 * canal, 10 * canal, CORTICAL_HU)
    cut.ellipse(0, y + b + 7 * s, 11 * canal, 6 * canal, 10)
    if abs((t + 0.5) % 1 - 0.5) > 0.25:
        cut.pair(20 * s * a / (50 * s), y + 5 * s, 4.5 * canal, 5 * canal, FAT_HU)


def _paint_vertebra(cut, body):
    """Body or disc, the arch with its processes, and between two of them their facets."""
    t, s, y = cut.t, cut.size, cut.spine_y
    if t < -0.55:
        return
    level = round(t)
    up = t - level
    a, b = (26 - 0.85 * t) * s, (18.5 - 0.25 * t) * s
    edge = up / (BODY_SHARE / 2)
    arch_y = y + b + 6 * s
    back, spinous_mm = y + b + 22 * s, 20 if level < 5 else 15
    cut.ellipse(0, arch_y, 17 * s, 11 * s, FAT_HU)
    if -0.4 < up < 0.2:
        cut.ellipse(0, back + 8 * s, 4 * s, spinous_mm * s, CORTICAL_HU, within=cut.in_wall)
    if -0.4 < up < 0.36:
        cut.ellipse(0, arch_y + 3 * s, 17 * s, 13 * s, CORTICAL_HU)
        cut.ellipse(0, arch_y, 12.5 * s, 10 * s, FAT_HU)
    if -0.05 < up < 0.36:
        cut.pair(15.5 * s, y + b + 1 * s, 5 * s, 10 * s, CORTICAL_HU)
        reach = _profile(level, {0: 40, 1: 41, 2: 48, 3: 42, 4: 36, 5: 24, 6: 30, 8: 32}) * s
        length = reach * np.cos(0.6 * np.pi * (up - 0.15))
        root, rise = 17 * s, (6 if level < 5 else 16) * s
        for side in (-1, 1):
            process = np.array([[side * root, arch_y + 2 * s], [side * length, arch_y + rise]])
            cut.stroke(process, 4 * s, CORTICAL_HU)
    if abs(up) > 0.3:
        cut.pair(21 * s, arch_y + 7 * s, 6 * s, 8.5 * s, CORTICAL_HU, turn=0.5)
        cut.pair(15 * s, arch_y + 12 * s, 5 * s, 8 * s, CORTICAL_HU, turn=0.5)
        joint = np.array([[14 * s, arch_y + 5 * s], [21 * s, arch_y + 14 * s]])
        cut.stroke(joint, 0.8, SOFT_HU)
        cut.stroke(joint * [-1, 1], 0.8, SOFT_HU)
    if abs(edge) < 1:
        a, b = (r * (0.93 + 0.07 * edge**2) for r in (a, b))
        cut.ellipse(0, y, a, b, CORTICAL_HU)
        cut.ellipse(0, y, a - 2.5, b - 2.5, body.spongy if abs(edge) < 0.88 else CORTICAL_HU - 80)
    else:
        cut.ellipse(0, y, a, b, DISC_HU)
    cut.ellipse(0, arch_y, 9 * s, 7.5 * s, 25)


def _paint_ribs(cut, body):
    """Each rib starts at its vertebra, falls on the way to the side, and rises in front."""
    # 0 where a rib reaches the wall, 1 beside the middle of the front.
    v = np.linspace(-0.15, 1, 70)
    course = np.interp(v, [0, 0.3, 0.75, 1], [0, 0.52, 1, 0.75])
    for level, drop in RIB_DROPS.items():
        end = RIB_ENDS.get(level, 1.0)
        fall = course if end == 1.0 else v.clip(0) / end
        height = level + 0.15 + body.rib_shift - drop * fall
        met = np.flatnonzero((np.abs(height - cut.t) < 0.2) & (v <= end))
        for run in np.split(met, np.flatnonzero(np.diff(met) > 1) + 1):
            if len(run) > 1:
                _paint_rib(cut, body, v[run])


def _paint_rib(cut, body, v):
    """A stretch of a rib on both sides, in the middle of the wall; its front is cartilage."""
    angle, middle = np.pi / 2 - 0.5 - v.clip(0) * 2.2, (cut.wall + cut.cavity) / 2
    mirrored = (2 * np.pi - angle) % (2 * np.pi) - np.pi
    root = np.array([22 * cut.size, cut.spine_y + 16 * cut.size])
    inwards = (v / -0.15).clip(0)[:, None]
    for side, where in ((1, angle), (-1, mirrored)):
        path = np.interp(where, ANGLES, middle)[:, None] * np.stack(
            [np.cos(angle), np.sin(angle)], 1
        )
        path = (path + inwards * (root - path)) * [side, 1]
        if v.mean() < 0.8:
            cut.stroke(path, 4.0, CORTICAL_HU)
            cut.stroke(path, 1.7, body.spongy)
        else:
            cut.stroke(path, 4.0, CARTILAGE_HU)


def _profile(t, knots):
    """A smooth curve through about the values of `knots`, a dict by t."""
    around = t + np.linspace(-0.4, 0.4, 5)
    return np.interp(around, list(knots), list(knots.values())).mean()
