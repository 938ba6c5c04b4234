"""What is in the abdomen and the chest of a subject, as ellipsoids."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.phantom.curves import BACK, FRONT, RIGHT, Ellipsoid
from bodycomp_jax.data.phantom.population import Person
from bodycomp_jax.data.phantom.tissue import FLUID, SOFT, Tissue, Tissues

CYSTS = 3  # at most, in each kidney and in the liver
PYRAMIDS = 7  # of the medulla of a kidney
HEPATIC_VESSELS = 150
RUN = 8  # loops of small bowel that are one tube
DUODENUM, COLON = -2, -1  # their runs
VERTEBRA = 33.0  # mm from one to the next, on average

Number = float | tuple[float, float]  # uniform between two limits


class Organ(NamedTuple):
    """Where an organ is on average, and how large; t and h in vertebrae."""

    x: Number  # share of the half width of the cavity
    y: Number  # share of its depth in front or behind
    t: Number
    a: Number  # half axes
    b: Number
    h: Number
    turn: float = 0.0
    slant: float = 0.0


# Half axes in shares of the cavity
LIVER_RIGHT = Organ(-0.6, -0.1, 6.2, (0.45, 0.68), (0.85, 1.2), (2.7, 4.8), 0.25, -1.5)
LIVER_LEFT = Organ(0.0, -0.62, 6.4, 0.5, 0.45, (1.2, 2.4), -0.1)
LIVER_TIP = Organ(-0.87, 0.0, (2.0, 4.5), (0.1, 0.22), (0.4, 0.9), (1.2, 2.2))
LIVER_BEHIND = Organ(-0.45, (0.2, 0.55), (5.0, 6.6), (0.3, 0.45), (0.4, 0.75), (1.2, 3.0))
SPLEEN = Organ((0.45, 0.85), (0.2, 0.55), 6.1, (0.18, 0.36), (0.4, 0.85), (1.5, 3.2), -0.3)
SPLEEN_TIP = LIVER_TIP._replace(x=0.87)
STOMACH = Organ(0.42, (-0.5, -0.2), 6.0, (0.26, 0.42), (0.4, 0.6), 2.5, 0.4)
ANTRUM = Organ((-0.15, 0.3), (-0.9, -0.6), (2.4, 4.8), (0.15, 0.4), (0.12, 0.35), (0.6, 1.6), 0.1)
HEART = Organ(0.14, -0.45, 9.3, 0.46, 0.62, 2.3, 0.4)
DOMES = Organ(-0.42, -0.2, 4.2, 0.61, 1.23, 4.0), Organ(0.44, -0.2, 4.2, 0.61, 1.23, 3.6)
PERICARDIUM = Organ(0.0, -0.8, 5.0, 0.4, 0.5, 5.0)
# in a share of it and mm
PANCREAS = Organ(0.1, -0.05, 4.2, 0.3, 11, 0.6, -0.3)
# in mm
KIDNEYS = (
    Organ(-0.56, (0.25, 0.45), 3.1, 27, 31, 1, -0.5, 4),
    Organ(0.56, (0.25, 0.45), 3.35, 27, 31, 1, 0.5, -4),
)
SMALL_BOWEL = (-0.7, -0.85, -3.5), (0.7, 0.0, 4.5)  # from and to: shares of the cavity, t
GALL_BLADDER = Organ(-0.42, -0.5, 3.7, 15, 20, 0.9)
BLADDER = Organ(0, -0.3, -4.0, 38, 30, 2.0)


class Spread(NamedTuple):
    """How organs differ from their `Organ`.

    Attributes:
      place, size, t: standard deviations of x and y, of the half axes (a factor), of t.
      moved: share of the diaphragm's shift.
    """

    place: float
    size: float
    t: float
    moved: float


BELOW_DIAPHRAGM, ABOVE_DIAPHRAGM = Spread(0.04, 0.08, 0.18, 0.5), Spread(0.02, 0.0, 0.15, 1.0)
OF_KIDNEYS, OF_THE_PELVIS = Spread(0.07, 0.13, 0.3, 0.3), Spread(0.04, 0.08, 0.18, 0.0)


class Pyramid(NamedTuple):
    """One of the medulla of a kidney."""

    angle: float  # around the sinus, radians
    half_width: float  # share of the kidney


class Abdomen(NamedTuple):
    """The organs below the diaphragm."""

    liver: list[Ellipsoid]
    pancreas: Ellipsoid
    gall_bladder: Ellipsoid
    spleen: list[Ellipsoid]
    stomach: list[Ellipsoid]
    kidneys: list[Ellipsoid]
    sinus: float  # share of a kidney that its sinus fills
    pyramids: list[Pyramid]
    hepatic_vessels: list[Ellipsoid]
    bladder: Ellipsoid
    cysts: list[Ellipsoid]


class Chest(NamedTuple):
    """What is above the diaphragm, and its domes."""

    heart: Ellipsoid
    domes: list[Ellipsoid]
    pericardium: Ellipsoid
    vessels: list[Ellipsoid]


class Loop(NamedTuple):
    """A piece of bowel with its wall; loops of one run are one tube."""

    lumen: Ellipsoid
    wall: float  # mm
    run: int


def draw_abdomen(
    rng: np.random.Generator, person: Person, tissues: Tissues, cavity: np.ndarray
) -> Abdomen:
    """The organs for a cavity, given by its radii at `ANGLES`."""
    w, d = cavity[RIGHT], cavity[BACK]

    def draw(
        organ: Organ,
        tissue: Tissue,
        unit: tuple[float, float] = (1, 1),
        spread: Spread = BELOW_DIAPHRAGM,
    ) -> Ellipsoid:
        return _draw_organ(rng, person, cavity, organ, tissue, unit, spread)

    def draw_lobe(lobe: Organ, tissue: Tissue) -> list[Ellipsoid]:
        """A part that is drawn in half the subjects."""
        return [draw(lobe, tissue, (w, d))] if rng.random() >= 0.5 else []

    liver = [draw(lobe, tissues.liver, (w, d)) for lobe in (LIVER_RIGHT, LIVER_LEFT)]
    for lobe in (LIVER_TIP, LIVER_BEHIND):
        liver += draw_lobe(lobe, tissues.liver)
    pancreas = draw(PANCREAS, SOFT, (w, 1))
    gall_bladder = draw(GALL_BLADDER, FLUID)
    spleen = [draw(SPLEEN, tissues.spleen, (w, d)), *draw_lobe(SPLEEN_TIP, tissues.spleen)]
    meal, gas = Tissue(rng.uniform(-30, 60)), rng.uniform(-1.6, 0.3)
    mottled = rng.uniform(0, 250) * (rng.random() < 0.5)
    stomach = [draw(STOMACH, meal, (w, d)), *draw_lobe(ANTRUM, meal)]
    surface = stomach[0].y + gas * stomach[0].b
    stomach = [part._replace(gas=surface, mottled=mottled) for part in stomach]
    h = _draw(rng, (1.4, 1.9), person.landmarks)
    kidneys = [
        draw(kidney._replace(h=h), tissues.renal_cortex, spread=OF_KIDNEYS) for kidney in KIDNEYS
    ]
    sinus = rng.uniform(0.25, 0.55)
    bladder = draw(BLADDER, FLUID, spread=OF_THE_PELVIS)
    cysts = [
        _draw_cyst(rng, host)
        for host in (*kidneys, liver[0])
        for _ in range(rng.integers(0, CYSTS + 1) * (rng.random() < 0.3))
    ]
    return Abdomen(
        liver,
        pancreas,
        gall_bladder,
        spleen,
        stomach,
        kidneys,
        sinus,
        _draw_pyramids(rng),
        _draw_hepatic_vessels(rng, tissues.venous_blood, liver[0]),
        bladder,
        cysts,
    )


def draw_chest(
    rng: np.random.Generator, person: Person, tissues: Tissues, cavity: np.ndarray
) -> Chest:
    """The heart, the domes of the diaphragm below it, and the vessels of the lungs."""
    w, d = cavity[RIGHT], cavity[BACK]
    vessels = rng.uniform((-0.9, -0.9, 6, 1.5, 2, 0.2, 0), (0.9, 0.9, 9, 4, 8, 0.6, np.pi), (60, 7))

    def draw(organ: Organ, tissue: Tissue) -> Ellipsoid:
        return _draw_organ(rng, person, cavity, organ, tissue, (w, d), ABOVE_DIAPHRAGM)

    heart = draw(HEART, tissues.blood)
    domes = [draw(dome, tissues.visceral_fat) for dome in DOMES]
    pericardium = draw(PERICARDIUM, tissues.visceral_fat)
    branches = [
        Ellipsoid(x * w, y * d, t, a, b, h, Tissue(20), turn) for x, y, t, a, b, h, turn in vessels
    ]
    return Chest(heart, domes, pericardium, branches)


def draw_bowel(rng: np.random.Generator, person: Person, cavity: np.ndarray) -> list[Loop]:
    """Small bowel in front; the duodenum; the colon up one side, across, and down the other."""
    loops: list[Loop] = []
    number = int(person.bowel)
    for first in range(0, number, RUN):
        loops += _draw_run(rng, person, cavity, first // RUN, min(RUN, number - first))
    for x, y, t in _course_of_duodenum(rng):
        loops.append(_draw_loop(rng, person, (*_place(cavity, x, y), t), (7, 14), DUODENUM))
    radii = 0.65 * person.colon, 1.2 * person.colon
    for x, y, t in _course_of_colon(rng):
        loops.append(_draw_loop(rng, person, (*_place(cavity, x, y), t), radii, COLON))
    return loops


def _draw_run(
    rng: np.random.Generator, person: Person, cavity: np.ndarray, run: int, loops: int
) -> Iterator[Loop]:
    """A winding tube of small bowel, with one content and one level of fluid."""
    low, high = ((*_place(cavity, *share), VERTEBRA * t) for *share, t in SMALL_BOWEL)
    middle, towards = rng.uniform(low, high), _unit(rng.normal(size=3))
    radius, wall = rng.uniform((9, 0.8), (18, 2.5)).tolist()
    content, gas, _ = _draw_content(rng, person, run)
    surface = None if gas is None else middle[1] + gas * radius
    for _ in range(loops):
        x, y, z = middle.tolist()
        a, b = (radius * rng.uniform(0.85, 1.15, 2)).tolist()
        lumen = Ellipsoid(x, y, z / VERTEBRA, a, b, 1.2 * radius / VERTEBRA, content)
        yield Loop(lumen._replace(gas=surface), wall, run)
        towards = _unit(towards + 0.6 * rng.normal(size=3))
        middle = middle + 1.2 * radius * towards
        back = np.where(middle < low, np.abs(towards), -np.abs(towards))
        towards = np.where((middle < low) | (middle > high), back, towards)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def draw_masses(rng: np.random.Generator, person: Person, cavity: np.ndarray) -> list[Ellipsoid]:
    """Lumps of any density anywhere in the abdomen."""
    masses = []
    for _ in range(int(person.masses)):
        x, y = _place(cavity, *rng.uniform(-0.9, 0.9, 2))
        a, b = rng.uniform(4, 38, 2)
        tissue, t = Tissue(rng.uniform(-30, 320)), rng.uniform(-3, 7)
        turn, mottled = rng.uniform(0, np.pi), rng.uniform(0, 150) * (rng.random() < 0.3)
        h = max(a, b) / VERTEBRA
        masses.append(Ellipsoid(x, y, t, a, b, h, tissue, turn, mottled=mottled))
    return masses


def _draw_organ(
    rng: np.random.Generator,
    person: Person,
    cavity: np.ndarray,
    organ: Organ,
    tissue: Tissue,
    unit: tuple[float, float],
    spread: Spread,
) -> Ellipsoid:
    """An `organ` whose half axes are in a `unit` of so many mm, shifted and scaled at random."""
    x, y, t, a, b, h = (_draw(rng, number, person.landmarks) for number in organ[:6])
    x, y = rng.normal((x, y), spread.place)
    factors = rng.normal(1, spread.size, 3) if spread.size else np.ones(3)
    a, b, h = (a * unit[0], b * unit[1], h) * factors
    t += spread.moved * person.diaphragm + person.landmarks * rng.normal(0, spread.t)
    return Ellipsoid(*_place(cavity, x, y), t, a, b, h, tissue, organ.turn, organ.slant)


def _draw(rng: np.random.Generator, number: Number, spread: float) -> float:
    """A number, or one between limits that are `spread` times as far apart as these."""
    if not isinstance(number, tuple):
        return number
    middle = sum(number) / 2
    return middle + spread * (rng.uniform(*number) - middle)


def _draw_cyst(rng: np.random.Generator, host: Ellipsoid) -> Ellipsoid:
    radius = rng.uniform(4, 22)
    x, y = (host.x, host.y) + rng.uniform(-1, 1, 2) * (host.a, host.b)
    t = host.t + rng.uniform(-0.8, 0.8) * host.h
    return Ellipsoid(x, y, t, radius, radius * rng.uniform(0.8, 1.2), radius / VERTEBRA, FLUID)


def _draw_pyramids(rng: np.random.Generator) -> list[Pyramid]:
    """Around the sinus, as uneven as their distances."""
    angles = (np.arange(PYRAMIDS) + rng.uniform(-0.3, 0.3, PYRAMIDS)) * 2 * np.pi / PYRAMIDS
    half_widths = rng.uniform(0.15, 0.3) * rng.uniform(0.6, 1.2, PYRAMIDS)
    return [Pyramid(*pyramid) for pyramid in zip(angles, half_widths, strict=True)]


def _draw_hepatic_vessels(
    rng: np.random.Generator, blood: Tissue, lobe: Ellipsoid
) -> list[Ellipsoid]:
    """Branches that point away from the middle of a lobe, where they are thickest."""
    branches = []
    for _ in range(HEPATIC_VESSELS):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.85)
        x, y = (lobe.x, lobe.y) + far * np.array([lobe.a, lobe.b]) * (np.cos(angle), np.sin(angle))
        long, thick = rng.uniform((6, 1.5), (18, 4.5)) * (1.2 - far)
        t, turn = lobe.t + rng.uniform(-0.9, 0.9) * lobe.h, angle + rng.normal(0, 0.4)
        h = rng.uniform(1, 3) * thick / VERTEBRA
        branches.append(Ellipsoid(x, y, t, long, thick, h, blood, turn))
    return branches


def _course_of_duodenum(rng: np.random.Generator) -> Iterator[tuple[float, float, float]]:
    """Down beside the head of the pancreas, and across in front of the great vessels at L3."""
    lowest, behind = rng.uniform((1.5, -0.2), (2.5, 0.0))
    for t in np.arange(lowest, 4.2, 0.35):
        yield -rng.uniform(0.3, 0.4), behind + rng.uniform(-0.05, 0.05), t
    for x in np.linspace(-0.3, 0.25, 6):
        yield x, behind + rng.uniform(-0.05, 0.05), lowest + rng.uniform(-0.1, 0.1)


def _course_of_colon(rng: np.random.Generator) -> Iterator[tuple[float, float, float]]:
    """x, y and t of its pieces, as shares of the cavity and in vertebrae."""
    for side, top in ((-1, 2.6), (1, 4.6)):
        column = rng.uniform(0.7, 0.84)
        for t in np.arange(-1.4, top, 0.55):
            narrower = np.interp(t, [-1, 1], [0.75, 1])  # between the wings of the pelvis
            yield side * narrower * column, rng.uniform(0.0, 0.3), t + rng.uniform(-0.2, 0.2)
    sag = rng.uniform(-1.5, 0.5)  # how far the transverse colon hangs down, t
    for x in np.linspace(-0.6, 0.6, 8):
        t = 3.1 + x + sag * (1 - (x / 0.6) ** 2) + rng.uniform(-0.3, 0.3)
        yield x, rng.uniform(-0.9, -0.65), t
    for t in np.arange(-5, -1.6, 0.6):
        yield rng.uniform(-0.3, 0.3), 0.1 - 0.12 * t, t


def _draw_loop(
    rng: np.random.Generator,
    person: Person,
    middle: tuple[float, float, float],
    radii: tuple[float, float],
    run: int,
) -> Loop:
    a, b = rng.uniform(*radii, 2)
    content, gas, mottled = _draw_content(rng, person, run)
    h, turn = rng.uniform(*radii) / 25, rng.uniform(0, np.pi)
    surface = None if gas is None else middle[1] + gas * b
    lumen = Ellipsoid(*middle, a, b, h, content, turn, gas=surface, mottled=mottled)
    return Loop(lumen, rng.uniform(1.2, 3.5), run)


def _draw_content(
    rng: np.random.Generator, person: Person, run: int
) -> tuple[Tissue, float | None, float]:
    """What fills a loop, where gas in it ends (-1: in front, 1: behind), and HU of bubbles."""
    chance = person.gas if run == COLON else 0.4 * person.gas
    gas = rng.uniform(-0.7, 0.9) if rng.random() < chance else None
    if run == COLON and rng.random() < person.stool:
        tissue = Tissue(person.stool_hu + rng.uniform(-20, 20))
        return tissue, gas, person.stool_gas * rng.uniform(0.5, 1)
    if person.oral_contrast and rng.random() < 0.6:
        return Tissue(person.oral_contrast * rng.uniform(0.6, 1.2)), gas, 0.0
    return Tissue(rng.uniform(-25, 50)), gas, 0.0


def _place(cavity: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """Shares of the cavity's half width and of its depth in front or behind, in mm."""
    return x * cavity[RIGHT], y * cavity[BACK if y > 0 else FRONT]
