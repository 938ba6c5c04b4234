"""Outlines of the trunk: skin, the layers of the muscular wall, the cavity."""

from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.phantom.curves import (
    ANGLES,
    BACK,
    FRONT,
    RIGHT,
    around,
    bump,
    profile,
    smooth_minimum,
    wave,
)
from bodycomp_jax.data.phantom.population import Person

SKIN_MM = 2.0
FASCIA_MM = 1.0
FAR = 1e4  # mm, outside of everybody
ROUNDED = 12.0  # mm of two outlines whose corner is round


class Layer(NamedTuple):
    """A flat muscle of the wall: its thickness in mm around the body, and along it."""

    around: dict[float, float]  # by the angle from the front
    along: dict[float, float]  # by t, a factor


RECTUS_EDGE = 0.62  # angle from the front
LAYERS = {  # from the outside in
    'latissimus dorsi': Layer(
        {1.7: 0, 2.1: 4, 2.5: 5, 2.75: 3, 2.9: 0}, {0.8: 0, 2: 0.5, 4: 1, 9: 1.5}
    ),
    'rectus abdominis': Layer(
        {0.0: 0, 0.06: 5, 0.2: 9.5, 0.42: 9, 0.56: 5, RECTUS_EDGE: 0},
        {-5: 1.2, -1: 1.1, 3: 0.9, 6: 0.7, 8: 0},
    ),
    'external oblique': Layer(
        {0.62: 0, 0.8: 4, 1.2: 7, 1.8: 6.5, 2.05: 3, 2.2: 0},
        {-4: 0.3, -1: 0.9, 1: 1, 4: 0.9, 8: 0.8},
    ),
    'internal oblique': Layer(
        {0.64: 0, 0.85: 5, 1.3: 9, 2.0: 6, 2.35: 2, 2.45: 0},
        {-3: 1, 0: 1.2, 2: 1, 3.5: 0.5, 5: 0.4, 9: 0.4},
    ),
    'transversus abdominis': Layer(
        {0.6: 0, 0.85: 3, 1.4: 4.5, 2.1: 4, 2.4: 2, 2.55: 0}, {-3: 0.8, 0: 1, 4: 0.8, 9: 0.5}
    ),
}
# mm from the middle of a vertebral body to the fascia behind the muscles of the back, and to the
# ribs in front of them
BEHIND: dict[float, float] = {
    -5: 14,
    -4: 22,
    -2: 38,
    -1: 52,
    0: 62,
    1: 68,
    2: 70,
    4: 67,
    6: 62,
    8: 60,
}
RIBS: dict[float, float] = {4: 24, 5: 28, 6.5: 36, 8: 37}
RIBS_BEND = 0.12  # backwards, mm for each mm to the side
CHEST: dict[float, float] = {3.4: 0, 5: 1}  # by t: 1 where ribs are behind the cavity
DIAPHRAGM = Layer({0: 2, 0.8: 3, 2.2: 4, np.pi: 6}, {2.2: 0, 3.2: 0.7, 4.5: 1, 9: 0.8})


class Outline(NamedTuple):
    """Radii in mm at `ANGLES`, at one height."""

    skin: np.ndarray
    wall: np.ndarray
    cavity: np.ndarray
    diaphragm: np.ndarray  # its outside; its inside is the cavity
    bands: list[tuple[np.ndarray, np.ndarray]]  # outer and inner radii: LAYERS, behind the ribs


class Outlines:
    """Of a subject, at every height."""

    def __init__(self, rng: np.random.Generator, person: Person, size: float) -> None:
        self._person, self._size = person, size
        self._half_depth = person.half_width * person.roundness
        self._wall_wave = 1 + wave(rng, person.asymmetry)
        self._fat = person.fat * (1 + wave(rng, person.fat_uneven)).clip(0.2) * self._fat_around()
        self._breasts = person.breasts * bump(0.5, 0.33)
        self._creases = person.folds * self._draw_creases(rng)
        self._layers = [self._draw_layer(rng, layer) for layer in LAYERS.values()]
        self._diaphragm = self._draw_layer(rng, DIAPHRAGM)
        self._planes = person.planes * (1 + wave(rng, 0.5)).clip(0)
        self._navel = rng.uniform(0.6, 1.5)

    def at(self, t: float) -> Outline:
        """At the height t."""
        wall = self._wall(t)
        bands, inner = [], wall - FASCIA_MM / 2
        for layer, thickness in zip(LAYERS.values(), self._layers, strict=True):
            thick = thickness * profile(t, layer.along)
            bands.append((inner, inner - thick))
            inner = inner - thick - self._planes * (thick / 3).clip(0, 1)
        diaphragm = self._in_front_of_ribs(t, wall, inner - FASCIA_MM / 2)
        bands.append(self._muscle_behind_ribs(inner, diaphragm))
        cavity = diaphragm - self._diaphragm * profile(t, DIAPHRAGM.along)
        return Outline(self._skin(t, wall), wall, cavity, diaphragm, bands)

    def spine_y(self, t: float, wall: np.ndarray) -> float:
        """The middle of the vertebral bodies, mm behind that of the trunk."""
        behind = profile(t, BEHIND) * self._size * self._person.depth_of_back
        return float(wall[BACK]) - behind

    def _in_front_of_ribs(self, t: float, wall: np.ndarray, inner: np.ndarray) -> np.ndarray:
        """Within the wall, in the chest also in front of the ribs that cross the back."""
        # The outlines are radii, so that none may be near the middle of the trunk.
        y = max(45.0, self.spine_y(t, wall) + profile(t, RIBS) * self._size)
        towards = np.sin(ANGLES) - RIBS_BEND * np.abs(np.cos(ANGLES))
        ribs = np.where(towards > 0, y / towards.clip(1e-3), FAR)
        return inner - profile(t, CHEST) * (inner - ribs).clip(0)

    def _muscle_behind_ribs(
        self, inner: np.ndarray, diaphragm: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Beside the muscles along the spine; where it is wasted, fat is in front of it."""
        muscle = min(1.0, self._person.back_muscle) * (inner - diaphragm - FASCIA_MM)
        return inner, inner - muscle.clip(0)

    def _wall(self, t: float) -> np.ndarray:
        """The outside of the muscles: a superellipse, two columns at the back, a furrow between."""
        person, cos, sin = self._person, np.cos(ANGLES), np.sin(ANGLES)
        width = profile(t, {-5: 1.08, -2: 1.08, 0: 1.02, 2: 0.97, 4: 0.99, 6: 1.03, 9: 1.06})
        depth = profile(t, {-5: 1.06, -1: 1.03, 1: 1.0, 4: 1.0, 8: 1.06})
        belly = profile(t, {-5: 0.0, -2: 0.7, 1: 1.0, 4: 0.7, 8: 0.3})
        half_depth = self._half_depth * depth * np.where(sin < 0, 1 + person.belly * belly, 1)
        power = person.squareness
        radii = np.abs(cos / (person.half_width * width)) ** power
        radii = (radii + np.abs(sin / half_depth) ** power) ** (-1 / power)
        back = 0.05 * bump(np.pi - 0.42, 0.25) - 0.07 * bump(np.pi, 0.16)
        lumbar = profile(t, {-3: 0, -1: 1, 4: 1, 8: 0.4})
        radii = radii * self._wall_wave * (1 + back * lumbar * min(1.2, person.muscle + 0.2))
        return self._without_corner(radii, lumbar)

    def _without_corner(self, radii: np.ndarray, lumbar: float) -> np.ndarray:
        """Cut straight from the muscles of the back to the side: behind is subcutaneous fat."""
        x, y = 72 * self._size, radii[BACK] - 6 * self._size
        side_x, side_y = 0.98 * radii[RIGHT], y - 62 * self._size
        normal = np.array([y - side_y, side_x - x])
        normal /= np.hypot(*normal)
        distance = normal @ (x, y) + self._person.corner + 60 * (1 - lumbar)
        towards = np.abs(np.cos(ANGLES)) * normal[0] + np.sin(ANGLES) * normal[1]
        cut = np.where(towards > 0, distance / towards.clip(1e-3), FAR)
        return smooth_minimum(radii, cut, ROUNDED) if side_x > x + 10 else radii

    def _skin(self, t: float, wall: np.ndarray) -> np.ndarray:
        """The fat outside the wall; the couch presses it flat below, and folds cut into it."""
        person = self._person
        along = {-5: person.fat_hips, -1.5: person.fat_hips, 1.5: 1, 5: person.fat_chest}
        fat = self._fat * profile(t, along)
        fat = fat + self._breasts * profile(t, {5.5: 0, 7: 0.8, 9: 1})
        navel = profile(t, {self._navel - 0.4: 0, self._navel: 1, self._navel + 0.4: 0})
        depth = np.maximum(self._creases, 0.7 * person.fat * navel * bump(0, 0.045))
        fat = np.maximum(fat - depth, 0.25 * fat)
        skin, sin = wall + fat + SKIN_MM, np.sin(ANGLES)
        lowest, lowest_wall = (float((r * sin).max()) for r in (skin, wall))
        couch = lowest - person.flattened * (lowest - lowest_wall - 4) + ROUNDED / 4
        flat = np.where(sin > 0.1, couch / sin.clip(1e-3), FAR)
        return np.maximum(smooth_minimum(skin, flat, ROUNDED), wall + SKIN_MM + 1)

    def _fat_around(self) -> np.ndarray:
        p = self._person
        return around(
            {
                0: p.fat_front,
                0.9: p.fat_front,
                1.57: p.fat_side,
                2.2: p.fat_flank,
                2.7: p.fat_back,
                2.95: p.fat_back,
                np.pi: p.fat_spine,
            }
        )

    def _draw_creases(self, rng: np.random.Generator) -> np.ndarray:
        """1 in the middle of each fold of the skin: at the flanks and across the belly."""
        at = rng.uniform(-np.pi, np.pi, 5)
        width = rng.uniform(0.03, 0.1, 5)
        apart = (ANGLES[:, None] - at + np.pi) % (2 * np.pi) - np.pi
        return np.exp(-((apart / width) ** 2)).max(1)

    def _draw_layer(self, rng: np.random.Generator, layer: Layer) -> np.ndarray:
        """The thickness in mm at `ANGLES`; the linea alba parts the two halves of the rectus."""
        person = self._person
        thick = around(layer.around) * (1 + wave(rng, 0.08)).clip(0.3)
        if layer is LAYERS['rectus abdominis']:
            half_gap = 0.5 * person.diastasis / (self._half_depth * (1 + person.belly))
            shifted = np.interp(np.abs(ANGLES + np.pi / 2) - half_gap, *_half(thick))
            thick = np.where(np.abs(ANGLES + np.pi / 2) < 1.2, shifted, thick)
        return thick * person.muscle * person.wall * self._size


def _half(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The right half of a curve in front, by the angle from the front; 0 at and before it."""
    near = slice(FRONT, RIGHT)
    return ANGLES[near] + np.pi / 2, values[near] * (ANGLES[near] > ANGLES[FRONT])
