"""Organs, bowel and lungs of a subject, as ellipsoids."""

import numpy as np

from bodycomp_jax.data.phantom.curves import BACK, FRONT, RIGHT, Ellipsoid
from bodycomp_jax.data.phantom.population import Person
from bodycomp_jax.data.phantom.tissue import FLUID, SOFT, Tissue, Tissues

CYSTS = 3  # at most, in each kidney and in the liver


class Abdomen:
    """The organs below the diaphragm."""

    def __init__(
        self, rng: np.random.Generator, person: Person, tissues: Tissues, cavity: np.ndarray
    ) -> None:
        self._rng, self._cavity = rng, cavity
        w, d = cavity[RIGHT], cavity[BACK]
        organ = self._organ
        self.liver = (
            organ(
                -0.6,
                -0.1,
                6.2,
                rng.uniform(0.45, 0.68) * w,
                rng.uniform(0.85, 1.2) * d,
                rng.uniform(2.7, 4.8),
                tissues.liver,
                turn=0.25,
                slant=-1.5,
            ),
            organ(
                0.0, -0.62, 6.4, 0.5 * w, 0.45 * d, rng.uniform(1.2, 2.4), tissues.liver, turn=-0.1
            ),
            *self._along_the_wall(-1, tissues.liver),
        )
        self.pancreas = organ(0.1, -0.05, 4.2, 0.3 * w, 11, 0.6, SOFT, turn=-0.3)
        self.gall_bladder = organ(-0.42, -0.5, 3.7, 15, 20, 0.9, FLUID)
        self.spleen = organ(
            0.8,
            0.25,
            6.1,
            rng.uniform(0.18, 0.36) * w,
            rng.uniform(0.4, 0.85) * d,
            rng.uniform(1.5, 3.2),
            tissues.spleen,
            turn=-0.3,
        )
        self.spleen_tip = self._along_the_wall(1, tissues.spleen)
        self.stomach = organ(
            0.42, -0.3, 6.0, 0.34 * w, 0.5 * d, 2.5, Tissue(rng.uniform(-10, 60)), turn=0.4,
            gas=rng.uniform(-0.6, 0.3), mottled=rng.uniform(0, 250) * (rng.random() < 0.5),
        )  # fmt: skip
        length = rng.uniform(1.5, 2.1)
        self.kidneys = tuple(
            organ(
                side * 0.56,
                0.3,
                t,
                27,
                31,
                length,
                tissues.renal_cortex,
                turn=side * 0.5,
                slant=-4 * side,
            )
            for side, t in ((-1, 3.7), (1, 3.95))
        )
        self.sinus = rng.uniform(0.25, 0.55)  # share of a kidney that its fat fills
        self.bladder = organ(0, -0.3, -4.0, 38, 30, 1.3, FLUID)
        self.cysts = [
            self._cyst(host)
            for host in (*self.kidneys, self.liver[0])
            for _ in range(rng.integers(0, CYSTS + 1) * (rng.random() < 0.3))
        ]

    def _organ(self, x, y, t, a, b, h, tissue, **more) -> Ellipsoid:
        rng = self._rng
        x, y = place(self._cavity, x + rng.normal(0, 0.04), y + rng.normal(0, 0.04))
        a, b, h = (a, b, h) * rng.normal(1, 0.08, 3)
        return Ellipsoid(x, y, t + rng.normal(0, 0.18), a, b, h, tissue, **more)

    def _along_the_wall(self, side: int, tissue: Tissue) -> list[Ellipsoid]:
        """The thin tip of an organ that reaches far down beside the wall, in half the subjects."""
        rng, w, d = self._rng, self._cavity[RIGHT], self._cavity[BACK]
        if rng.random() < 0.5:
            return []
        a, b, h = rng.uniform(0.1, 0.22) * w, rng.uniform(0.4, 0.9) * d, rng.uniform(1.2, 2.2)
        return [self._organ(0.87 * side, 0.0, rng.uniform(2.0, 4.5), a, b, h, tissue)]

    def _cyst(self, host: Ellipsoid) -> Ellipsoid:
        rng, radius = self._rng, self._rng.uniform(4, 22)
        x, y = (host.x, host.y) + rng.uniform(-1, 1, 2) * (host.a, host.b)
        t = host.t + rng.uniform(-0.8, 0.8) * host.h
        return Ellipsoid(x, y, t, radius, radius * rng.uniform(0.8, 1.2), radius / 33, FLUID)


def draw_chest(rng: np.random.Generator, tissues: Tissues, cavity: np.ndarray) -> 'Chest':
    """The heart, the vessels of the lungs, and the domes of the diaphragm below them."""
    w, d = cavity[RIGHT], cavity[BACK]

    def organ(x, y, t, a, b, h, tissue, **more):
        x, y = place(cavity, x + rng.normal(0, 0.02), y + rng.normal(0, 0.02))
        return Ellipsoid(x, y, t + rng.normal(0, 0.15), a, b, h, tissue, **more)

    fat = tissues.visceral_fat
    vessels = rng.uniform((-0.9, -0.9, 6, 1.5, 2, 0.2, 0), (0.9, 0.9, 9, 4, 8, 0.6, np.pi), (60, 7))
    return Chest(
        organ(0.14, -0.45, 9.3, 0.46 * w, 0.62 * d, 2.3, tissues.blood, turn=0.4),
        (
            organ(-0.48, -0.2, 4.2, 0.7 * w, 1.3 * d, 5.0, fat),
            organ(0.5, -0.2, 4.2, 0.68 * w, 1.3 * d, 4.2, fat),
        ),
        organ(0.0, -0.8, 5.0, 0.4 * w, 0.9 * d, 5.0, fat),
        [
            Ellipsoid(x * w, y * d, t, a, b, h, Tissue(20), turn)
            for x, y, t, a, b, h, turn in vessels
        ],
    )


class Chest:
    """What is above the diaphragm."""

    def __init__(self, heart, domes, pericardium, vessels) -> None:
        self.heart, self.domes, self.pericardium, self.vessels = heart, domes, pericardium, vessels


def draw_bowel(
    rng: np.random.Generator, person: Person, cavity: np.ndarray
) -> list[tuple[Ellipsoid, float]]:
    """Small loops in front, the colon up one side, across, and down the other; with their walls."""
    uniform = rng.uniform

    def content(stool: bool) -> tuple[Tissue, float | None, float]:
        """(what fills it, gas above, bubbles)."""
        gas = uniform(-0.7, 0.9) if rng.random() < person.gas else None
        if stool:
            return Tissue(uniform(-10, 70)), gas, uniform(150, 700)
        if person.oral_contrast and rng.random() < 0.6:
            return Tissue(person.oral_contrast * uniform(0.6, 1.2)), gas, 0.0
        return Tissue(uniform(-25, 50)), gas, 0.0

    def loop(x, y, t, low, high, *, stool=False, long=1.0):
        a, b = uniform(low, high, 2)
        tissue, gas, mottled = content(stool)
        x, y = place(cavity, x, y)
        h = uniform(low, high) / 25
        return (
            Ellipsoid(x, y, t, a * long, b, h, tissue, uniform(0, np.pi), 0.0, gas, mottled),
            uniform(1.2, 3.5),
        )

    bowel = [
        loop(
            uniform(-0.7, 0.7), uniform(-0.85, 0.0), uniform(-3.5, 4.5), 8, 19, long=uniform(1, 2.8)
        )
        for _ in range(int(person.bowel))
    ]
    low, high = 0.65 * person.colon, 1.2 * person.colon

    def colon(x, y, t):
        return loop(x, y, t, low, high, stool=rng.random() < person.stool)

    for side, top in ((-1, 2.6), (1, 4.6)):
        column = uniform(0.7, 0.84)
        for t in np.arange(-1.4, top, 0.55):
            bowel.append(colon(side * column, uniform(0.0, 0.3), t + uniform(-0.2, 0.2)))
    sag = uniform(-1.5, 0.5)  # how far the transverse colon hangs down, t
    for x in np.linspace(-0.6, 0.6, 8):
        t = 3.1 + x + sag * (1 - (x / 0.6) ** 2) + uniform(-0.3, 0.3)
        bowel.append(colon(x, uniform(-0.9, -0.65), t))
    for t in np.arange(-5, -1.6, 0.6):
        bowel.append(colon(uniform(-0.3, 0.3), 0.1 - 0.12 * t, t))
    return bowel


def draw_masses(rng: np.random.Generator, person: Person, cavity: np.ndarray) -> list[Ellipsoid]:
    """Lumps of any density anywhere in the abdomen."""
    masses = []
    for _ in range(int(person.masses)):
        x, y = place(cavity, *rng.uniform(-0.9, 0.9, 2))
        a, b = rng.uniform(4, 38, 2)
        tissue = Tissue(rng.uniform(-30, 320))
        masses.append(
            Ellipsoid(
                x, y, rng.uniform(-3, 7), a, b, max(a, b) / 33, tissue, rng.uniform(0, np.pi),
                mottled=rng.uniform(0, 150) * (rng.random() < 0.3),
            )
        )  # fmt: skip
    return masses


def place(cavity: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """Shares of the cavity's half width and of its depth in front or behind, in mm."""
    return x * cavity[RIGHT], y * cavity[BACK if y > 0 else FRONT]
