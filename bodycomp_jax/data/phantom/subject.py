"""The anatomy of one synthetic subject: outline, vertebrae and organs, drawn from a seed.

Along the body, `t` counts vertebrae: 0 is the middle of L5, 1 that of L4, 8 that of T9, and the
sacrum is below -0.5; each subject has its own mm from one to the next. In a slice, lengths are mm
from the middle of the body, x to the right of the picture, y downwards (to the patient's back).
Everything is smooth along t.
"""

from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.phantom.tissue import FLUID, OTHER_FAT, SOFT, Tissue

LEVELS = ('L5', 'L4', 'L3', 'L2', 'L1', 'T12', 'T11', 'T10', 'T9')  # t = 0, 1, ...
FIELD_OF_VIEW = 420.0  # mm, the side of a slice
SKIN_MM = 2.0
ANGLES = np.linspace(-np.pi, np.pi, 1025)  # 0 is the right of the picture, pi/2 the back
RIGHT, FRONT, BACK = 512, 256, 768  # their indices
COUNTS = np.arange(-7, 12)  # the t whose heights are drawn


class Ellipsoid(NamedTuple):
    """x, y, a, b in mm, t and h in vertebrae; `slant`: mm in x per vertebra."""

    x: float
    y: float
    t: float
    a: float
    b: float
    h: float
    tissue: Tissue
    turn: float = 0.0
    slant: float = 0.0
    gas: float | None = None  # where the gas above the fluid ends: -1 is its front, 1 its back

    def scale(self, t: float) -> float:
        """Of the half axes in the slice at t: 1 in the middle, 0 beyond the ends."""
        return max(0.0, 1 - ((t - self.t) / self.h) ** 2) ** 0.5


class Subject:
    """What is drawn once per subject; lengths in mm."""

    def __init__(self, rng: np.random.Generator) -> None:
        vertebra = self._draw_spine(rng)
        self.size = (vertebra / 33) ** 0.6 * rng.uniform(0.95, 1.05)
        self._draw_habitus(rng)
        self.couch_y = float(self.outline(2.0)[0][BACK])  # the couch is level along the body
        self._draw_marks(rng)
        self.cavity = self.outline(3.5)[2]
        self._draw_abdomen(rng)
        self._draw_chest(rng)
        self._draw_bowel(rng)
        self.position = rng.uniform(-10, 10, 2)  # of the middle of the body, mm
        self.noise = rng.uniform(8, 16)  # HU
        self.noise_seed = int(rng.integers(2**32))

    def t(self, z: float) -> float:
        """The `t` of a height in mm."""
        return float(np.interp(z, self._heights, COUNTS))

    def z(self, t: float) -> float:
        """The height in mm of a `t`."""
        return float(np.interp(t, COUNTS, self._heights))

    def outline(self, t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Radii at `ANGLES` of the skin, the muscular wall and the cavity."""
        cos, sin = np.cos(ANGLES), np.sin(ANGLES)
        width = profile(t, {-5: 1.1, -2: 1.1, 0: 1.02, 2: 0.94, 4: 0.98, 6: 1.06, 9: 1.12})
        depth = profile(t, {-5: 1.12, -1: 1.08, 1: 1.0, 4: 1.0, 8: 1.12})
        belly = profile(t, {-5: 0.1, -2: 0.7, 1: 1.0, 4: 0.7, 8: 0.4})
        half_depth = self._half_depth * depth * np.where(sin < 0, 1 + self._belly * belly, 1)
        # A superellipse: flatter than an ellipse in front and behind.
        flat = 2.3
        radii = np.abs(cos / (self._half_width * width)) ** flat + np.abs(sin / half_depth) ** flat
        wall = radii ** (-1 / flat) * self._wall_wave
        thick = profile(t, {-5: 1.3, -1: 1.25, 2: 1.0, 5: 0.7, 8: 0.6})
        behind = profile(t, {-4: 0.4, -1: 0.35, 2: 0.2, 6: 0.0})
        fat = self._fat * thick * (1 + behind * sin**3 + 0.2 * cos**4) * self._fat_wave
        return wall + fat + SKIN_MM, wall, wall - self._wall

    def _draw_spine(self, rng: np.random.Generator) -> float:
        """Draws the heights of the vertebrae; returns the mean height of L5 and its disc."""
        vertebra = rng.uniform(29.5, 37)
        heights = np.cumsum(vertebra * (1 - 0.018 * COUNTS) * rng.normal(1, 0.01, len(COUNTS)))
        self._heights = heights + rng.uniform(145, 155) - heights[COUNTS == 0]
        self.top = self.z(len(LEVELS) - 1) + rng.uniform(0, 12)
        return vertebra

    def _draw_habitus(self, rng: np.random.Generator) -> None:
        """Width, depth, fat and muscle."""
        self._half_width = 121 * self.size * rng.uniform(0.95, 1.08)
        self._half_depth = self._half_width * rng.uniform(0.62, 0.74)
        self._fat = rng.uniform(6, 34)
        self._belly = rng.uniform(-0.1, 0.2) + 0.01 * self._fat
        self.muscle = rng.uniform(0.9, 1.12)
        self._wall_wave, self._fat_wave = 1 + wave(rng, 0.015), 1 + wave(rng, 0.1)
        thin = 1 - 0.75 * np.exp(-(((ANGLES + np.pi / 2) / 0.16) ** 2))  # the linea alba
        self._wall = rng.uniform(8, 15) * thin * (1 + wave(rng, 0.1))

    def _draw_marks(self, rng: np.random.Generator) -> None:
        """Where landmarks are along the spine, and the HU that vary between subjects."""
        self.crest = 0.6 + rng.normal(0, 0.07)
        self.hip = -4.35 + rng.normal(0, 0.08)
        self.bifurcation = 0.95 + rng.normal(0, 0.1)
        self.rib_shift = rng.normal(0, 0.06)
        self.psoas_shift = rng.normal(0, 0.08)
        self.spongy, self.blood = Tissue(rng.uniform(130, 220)), Tissue(rng.uniform(40, 190))
        self.venous_blood = Tissue(0.8 * self.blood.hu)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        """Shares of the cavity's half width and of its depth in front or behind, in mm."""
        return x * self.cavity[RIGHT], y * self.cavity[BACK if y > 0 else FRONT]

    def _organ(self, rng, x, y, t, a, b, h, tissue, **more) -> Ellipsoid:
        x, y = self._place(x + rng.normal(0, 0.02), y + rng.normal(0, 0.02))
        a, b, h = (a, b, h) * rng.normal(1, 0.04, 3)
        return Ellipsoid(x, y, t + rng.normal(0, 0.12), a, b, h, tissue, **more)

    def _draw_abdomen(self, rng: np.random.Generator) -> None:
        w, d = self.cavity[RIGHT], self.cavity[BACK]
        liver, spleen = Tissue(rng.uniform(55, 110)), Tissue(rng.uniform(50, 110))
        kidney, gas = Tissue(rng.uniform(35, 180)), rng.uniform(-0.6, 0.3)
        self.organs = (  # pancreas, liver and its left lobe, gall bladder, spleen
            self._organ(rng, 0.1, -0.05, 4.2, 0.3 * w, 11, 0.6, SOFT, turn=-0.3),
            self._organ(
                rng, -0.55, -0.1, 6.2, 0.52 * w, 0.95 * d, 3.7, liver, turn=0.25, slant=-1.5
            ),
            self._organ(rng, 0.0, -0.62, 6.4, 0.5 * w, 0.45 * d, 1.9, liver, turn=-0.1),
            self._organ(rng, -0.42, -0.5, 3.7, 15, 20, 0.9, FLUID),
            self._organ(rng, 0.76, 0.25, 6.1, 0.2 * w, 0.5 * d, 1.9, spleen, turn=-0.3),
        )
        self.stomach = self._organ(
            rng, 0.42, -0.3, 6.0, 0.34 * w, 0.5 * d, 2.5, Tissue(30), turn=0.4, gas=gas
        )
        self.kidneys = (
            self._organ(rng, -0.56, 0.3, 3.7, 26, 29, 1.75, kidney, turn=-0.5, slant=4),
            self._organ(rng, 0.56, 0.3, 3.95, 26, 29, 1.75, kidney, turn=0.5, slant=-4),
        )
        self.bladder = self._organ(rng, 0, -0.3, -4.0, 38, 30, 1.3, FLUID)

    def _draw_chest(self, rng: np.random.Generator) -> None:
        """The heart, the vessels of the lungs, and the domes of the diaphragm below them."""
        w, d = self.cavity[RIGHT], self.cavity[BACK]
        heart = Tissue(0.9 * self.blood.hu)
        self.heart = self._organ(rng, 0.14, -0.45, 9.3, 0.46 * w, 0.62 * d, 2.3, heart, turn=0.4)
        self.domes = (
            self._organ(rng, -0.48, -0.2, 4.2, 0.7 * w, 1.3 * d, 5.0, OTHER_FAT),
            self._organ(rng, 0.5, -0.2, 4.2, 0.68 * w, 1.3 * d, 4.2, OTHER_FAT),
        )
        self.pericardium = self._organ(rng, 0.0, -0.8, 5.0, 0.4 * w, 0.9 * d, 5.0, OTHER_FAT)
        self.lung_vessels = [
            Ellipsoid(x * w, y * d, t, a, b, h, Tissue(20), turn)
            for x, y, t, a, b, h, turn in rng.uniform(
                (-0.9, -0.9, 6, 1.5, 2, 0.2, 0), (0.9, 0.9, 9, 4, 8, 0.6, np.pi), (60, 7)
            )
        ]

    def _draw_bowel(self, rng: np.random.Generator) -> None:
        """Small loops in front, the colon up one side, across, and down the other."""

        def loop(x, y, t, low, high):
            a, b = rng.uniform(low, high, 2)
            gas = rng.uniform(-0.6, 0.8) if rng.random() < 0.3 else None
            content, turn = Tissue(rng.uniform(-20, 45)), rng.uniform(0, np.pi)
            return Ellipsoid(
                *self._place(x, y), t, a, b, rng.uniform(low, high) / 25, content, turn, gas=gas
            )

        uniform = rng.uniform
        self.bowel = [
            loop(uniform(-0.65, 0.65), uniform(-0.8, -0.1), uniform(-3, 3.2), 12, 22)
            for _ in range(rng.integers(40, 120))
        ]
        for side, top in ((-1, 2.6), (1, 4.2)):
            for t in np.arange(-1.2, top, 0.8):
                x, y = side * uniform(0.76, 0.84), uniform(0.0, 0.25)
                self.bowel.append(loop(x, y, t + uniform(-0.2, 0.2), 16, 24))
        for x in np.linspace(-0.6, 0.6, 6):
            self.bowel.append(loop(x, uniform(-0.85, -0.65), 2.9 + x + uniform(-0.3, 0.3), 16, 24))
        for t in np.arange(-5, -1.6, 0.7):
            self.bowel.append(loop(uniform(-0.06, 0.06), 0.1 - 0.12 * t, t, 15, 21))


class Cut:
    """A subject at the height t: outlines, and the lengths that scale with them."""

    def __init__(self, subject: Subject, t: float) -> None:
        self.subject, self.t, self.size = subject, t, subject.size
        self.skin, self.wall, self.cavity = subject.outline(t)
        self.width, self.depth = float(self.cavity[RIGHT]), float(self.cavity[BACK])
        self.spine_y = self.depth * profile(
            t, {-4: 0.8, -2: 0.7, -1: 0.52, 0: 0.42, 2: 0.34, 5: 0.4, 8: 0.46}
        )
        lordosis = 7 * profile(t, {-2: 0, 1: 1, 3: 1, 6: 0})
        self.couch_y = float(self.skin[BACK]) + lordosis  # below the middle of the body here
        x, y = subject.position.tolist()
        self.centre = x, y + subject.couch_y - self.couch_y


def profile(t: float, knots: dict[float, float]) -> float:
    """The value at t of a smoothed line through `knots`, {t: value}."""
    around = t + np.linspace(-0.4, 0.4, 5)
    return float(np.interp(around, list(knots), list(knots.values())).mean())


def wave(rng: np.random.Generator, amplitude: float) -> np.ndarray:
    """A smooth periodic function with zero mean, at `ANGLES`."""
    k = np.arange(1, 5)[:, None]
    a, b = rng.normal(0, amplitude, (2, 4, 1)) / k
    return (a * np.cos(k * ANGLES) + b * np.sin(k * ANGLES)).sum(0)
