"""The anatomy of one synthetic subject, drawn from a seed."""

from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.phantom.contents import (
    draw_abdomen,
    draw_bowel,
    draw_chest,
    draw_masses,
)
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.outline import Outlines
from bodycomp_jax.data.phantom.population import Person
from bodycomp_jax.data.phantom.tissue import Tissues

LEVELS = ('L5', 'L4', 'L3', 'L2', 'L1', 'T12', 'T11', 'T10', 'T9')  # t = 0, 1, ...
L1, T12 = LEVELS.index('L1'), LEVELS.index('T12')
COUNTS = np.arange(-9, 13)  # of vertebrae above the last lumbar one, whose heights are drawn
# From a vertebra to the one above it, times the height of L5 with its disc: discs and bodies are
# lower towards the head. Those of the sacrum lean back, so that the hips are at t = -4.35, 110 mm
# below L5.
HEIGHTS = np.interp(
    COUNTS,
    [-9, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 12],
    [0.6, 0.6, 0.9, 1, 0.99, 0.96, 0.91, 0.83, 0.77, 0.72, 0.68, 0.62],
)
TILTS = {-1: 30.0, 0: 18.0, 1: 8.0, 2: -1.0, 3: -9.0, 4: -15.0, 6: -15.0, 8: -8.0}  # degrees
TEXTURES = 5  # independent noises within the tissues


class Vertebra(NamedTuple):
    """How a vertebra differs from the usual one.

    Attributes:
      width: of its body, times the usual.
      processes: their length, times the usual.
      arch: how much higher its arch is, t.
      tilt: how far its front is below its back, degrees.
    """

    width: float
    processes: float
    arch: float
    tilt: float


UNEVEN = Vertebra(width=0.02, processes=0.1, arch=0.08, tilt=2.0)  # standard deviations


class Subject:
    """What is drawn once per subject; lengths in mm.

    Attributes:
      person: the parameters of the distributions.
      levels: {level: height of the middle of its body}, counted down from T12. Of four lumbar
        vertebrae L5 is the first of the sacrum, and of six it has one below it.
      size: of bones and organs, 1 on average.
      bends: [x and y, waves, (frequencies along x and y per mm, their phases)].
    """

    def __init__(self, rng: np.random.Generator, person: Person) -> None:
        self.person = person
        self.tissues = Tissues.of(self.person)
        self._draw_spine(rng)
        self.size = (self.person.vertebra / 37.5) ** 0.6 * self.person.build
        self.outlines = Outlines(rng, self.person, self.size)
        self.couch_y, self.position = 0.0, np.zeros(2)
        self._draw_bends(rng)
        self.couch_y = Cut(self, 2.0).couch_y  # the couch is level along the body
        self._draw_marks(rng)
        cavity = self.outlines.at(3.5).cavity
        self.abdomen = draw_abdomen(rng, person, self.tissues, cavity)
        self.chest = draw_chest(rng, person, self.tissues, cavity)
        self.bowel = draw_bowel(rng, self.person, cavity)
        self.masses = draw_masses(rng, self.person, cavity)
        self.position = rng.uniform(-10, 10, 2)  # of the middle of the body, mm
        self.noise_seed = int(rng.integers(2**32))

    def t(self, z: float) -> float:
        """The `t` of a height in mm."""
        return float(np.interp(z, self._heights, self._landmarks))

    def z(self, t: float) -> float:
        """The height in mm of a `t`."""
        return float(np.interp(t, self._landmarks, self._heights))

    def v(self, t: float) -> float:
        """How many vertebrae a `t` is above the last lumbar one."""
        return float(np.interp(t, self._landmarks, COUNTS))

    def landmark(self, v: float) -> float:
        """The `t` of a number of vertebrae above the last lumbar one."""
        return float(np.interp(v, COUNTS, self._landmarks))

    def vertebra(self, v: float) -> Vertebra:
        """The vertebra at v, or between the two that are next to it."""
        return Vertebra(*(float(np.interp(v, COUNTS, each)) for each in self._vertebrae))

    def sideways(self, t: float) -> float:
        """How far the spine is bent sideways, -1 to 1."""
        return float(np.sin(0.7 * t + self._curve))

    def texture_offsets(self, t: float) -> np.ndarray:
        """Where the noises within the tissues begin: `[TEXTURES, 2]` mm, moving along t."""
        return self._textures + t * np.array([11.0, 7.0])

    def _draw_spine(self, rng: np.random.Generator) -> None:
        """Draws the heights of the vertebrae, and how each differs from the usual one."""
        heights = np.cumsum(self.person.vertebra * HEIGHTS * rng.normal(1, 0.02, len(COUNTS)))
        self._heights = heights + rng.uniform(132, 142) - heights[COUNTS == 0]
        more = self.person.lumbar
        known = {COUNTS[0]: COUNTS[0], 0: 0, L1 + more: L1, COUNTS[-1]: COUNTS[-1] - more}
        self._landmarks = np.interp(COUNTS, list(known), list(known.values()))
        of_levels = np.interp(np.arange(len(LEVELS)) + more, COUNTS, self._heights)
        self.levels = dict(zip(LEVELS, of_levels.tolist(), strict=True))
        self.top = self.z(len(LEVELS) - 1) + rng.uniform(0, 12)
        self._curve = rng.uniform(0, 2 * np.pi)
        self._vertebrae = self._draw_vertebrae(rng)

    def _draw_vertebrae(self, rng: np.random.Generator) -> np.ndarray:
        """Each attribute of a `Vertebra` at `COUNTS`."""
        person, ones = self.person, np.ones(len(COUNTS))
        tilts = person.lean + person.lordosis * np.interp(COUNTS, list(TILTS), list(TILTS.values()))
        usual = np.stack([ones, person.processes * ones, person.arches * ones, tilts])
        return usual + person.uneven * rng.normal(0, np.array(UNEVEN)[:, None], usual.shape)

    def _draw_bends(self, rng: np.random.Generator) -> None:
        frequencies = 2 * np.pi / rng.uniform(90, 320, (2, 6, 2))
        phases = rng.uniform(0, 2 * np.pi, (2, 6, 2))
        self.bends = np.concatenate([frequencies, phases], -1).astype(np.float32)
        self._textures = rng.uniform(400, 1200, (TEXTURES, 2))

    def _draw_marks(self, rng: np.random.Generator) -> None:
        """Where landmarks are along the spine."""
        shifts = self.person.landmarks * rng.normal(0, (0.08, 0.3, 0.25, 0.2))
        hip, bifurcation, self.psoas_shift, self.back_shift = shifts
        self.hip, self.bifurcation = hip - 4.35, bifurcation + 0.95
        self.arm = rng.uniform(-0.2, 0.6, 2)  # how far in front of the body each arm is
        self.arm_gap = rng.uniform(-4, 25, 2)  # mm between each arm and the trunk
        self.tube_angles = rng.uniform(-np.pi, np.pi, 6)
        self.calcified = rng.uniform(0, 2 * np.pi, 8)
        self.osteophyte_sides = rng.uniform(0, 1, 40)
        self.screw_level = int(rng.integers(0, 4))
        self.couch = rng.uniform(0, 1, 6)
