"""A subject at one height."""

from typing import TYPE_CHECKING

import numpy as np

from bodycomp_jax.data.phantom.curves import ANGLES, BACK, RIGHT, profile

if TYPE_CHECKING:
    from bodycomp_jax.data.phantom.subject import Subject


class Cut:
    """A subject at the height t: outlines, and the lengths that scale with them.

    Attributes:
      v: vertebrae above the last lumbar one; t, where there are five.
    """

    def __init__(self, subject: 'Subject', t: float) -> None:
        self.subject, self.t, self.v, self.size = subject, t, subject.v(t), subject.size
        self.person, self.tissues = subject.person, subject.tissues
        self.skin, self.wall, self.cavity, self.diaphragm, self.bands = subject.outlines.at(t)
        self.peritoneum = self.cavity - self.person.properitoneal
        self.width, self.depth = float(self.cavity[RIGHT]), float(self.cavity[BACK])
        self.spine_y = subject.outlines.spine_y(t, self.wall)
        wide = self.size * subject.vertebra(self.v).width
        self.half_width_of_body = wide * (24.3 - self.person.taper / 2 * (t - 2))  # of a vertebra
        lordosis = 7 * profile(t, {-2: 0, 1: 1, 3: 1, 6: 0})
        lowest = float((self.skin * np.sin(ANGLES)).max())
        self.couch_y = lowest + lordosis  # below the middle of the body
        x, y = subject.position.tolist()
        self.centre = x, y + subject.couch_y - self.couch_y
        self.displacement = 2.5 * self.person.bend + abs(self.person.scoliosis)
        self.textures = subject.texture_offsets(t)

    def bent(self, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions in the straight body of those in the bent one: x and y, `[rows, columns]`."""
        x = np.broadcast_to(columns, (len(rows), len(columns))).copy()
        y = np.broadcast_to(rows[:, None], x.shape).copy()
        near_spine = np.exp(-((columns / 90) ** 2))
        x += np.float32(self.person.scoliosis * self.subject.sideways(self.t)) * near_spine
        for displaced, waves in ((x, self.subject.bends[0]), (y, self.subject.bends[1])):
            k, m, phases = waves[:, 0], waves[:, 1], waves[:, 2:].T
            along_x = np.sin(columns * k[:, None] + phases[0][:, None] + 0.6 * self.t)
            along_y = np.sin(rows * m[:, None] + phases[1][:, None] + 0.4 * self.t)
            # Not by @, whose threads wait for each other where others draw at the same time.
            displaced += np.einsum('ki,kj->ij', along_y, self.person.bend / 2 * along_x)
        return x, y
