"""A canvas of HU and labels, with the shapes that are painted on it."""

from itertools import pairwise

import numpy as np

from bodycomp_jax.data.phantom.subject import ANGLES, SKIN_MM, Cut, Ellipsoid
from bodycomp_jax.data.phantom.tissue import AIR, GAS, Tissue

WHOLE = (slice(None), slice(None))


class Canvas:
    """A slice of air, and which share of each pixel is inside the outlines of a `Cut`.

    Its side is `field_of_view` mm, and its middle is at `middle`, mm to the right and downwards.
    Tissues are painted from the outside in. Pixels on a border hold a mixture of HU, as in real
    CT, and the label of the tissue that fills at least half of them.
    """

    def __init__(
        self,
        side: int,
        cut: Cut,
        field_of_view: float,
        middle: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.t = cut.t
        self.pixel = field_of_view / side
        positions = (np.arange(side, dtype=np.float32) + 0.5) * self.pixel - field_of_view / 2
        x0, y0 = (body - view for body, view in zip(cut.centre, middle, strict=True))
        self.x, self.y = positions[None] - x0, positions[:, None] - y0
        self.hu = np.full((side, side), AIR.hu, np.float32)
        self.labels = np.full((side, side), AIR.label, np.uint8)
        radius = np.hypot(self.x, self.y)
        per_radian = (len(ANGLES) - 1) / (2 * np.pi)
        i = (np.arctan2(self.y, self.x) * per_radian + len(ANGLES) // 2).astype(np.intp)
        self.in_skin, self.in_fat, self.in_wall, self.in_cavity = (
            self.cover(radii.astype(np.float32)[i] - radius)
            for radii in (cut.skin, cut.skin - SKIN_MM, cut.wall, cut.cavity)
        )

    def fill(self, share: np.ndarray, tissue: Tissue, window: tuple[slice, slice] = WHOLE) -> None:
        """Mixes `share` (0..1 in each pixel of the window) of a tissue into what is there."""
        self.hu[window] += share * (float(tissue.hu) - self.hu[window])
        np.copyto(self.labels[window], np.uint8(tissue.label), where=share >= 0.5)

    def ellipse(
        self,
        x: float,
        y: float,
        a: float,
        b: float,
        tissue: Tissue,
        *,
        turn: float = 0.0,
        within: np.ndarray | None = None,
        above: float | None = None,
    ) -> None:
        """An ellipse with half axes a and b, `turn` radians clockwise.

        Only inside the coverage `within` and in front of the line y = `above`.
        """
        if min(a, b) < 0.5:
            return
        x, y, a, b = float(x), float(y), float(a), float(b)  # NumPy's scalars widen the pixels
        window, dx, dy = self._near(x, y, x, y, max(a, b))
        dx, dy = dx - x, dy - y
        cos, sin = float(np.cos(turn)), float(np.sin(turn))
        u, v = dx * cos + dy * sin, dy * cos - dx * sin
        share = self.cover((1 - np.sqrt((u / a) ** 2 + (v / b) ** 2)) * min(a, b))
        if above is not None:
            share = share * (dy < above - y)
        self.fill(share if within is None else share * within[window], tissue, window)

    def pair(
        self,
        x: float,
        y: float,
        a: float,
        b: float,
        tissue: Tissue,
        *,
        turn: float = 0.0,
        within: np.ndarray | None = None,
    ) -> None:
        """An ellipse and its mirror image."""
        for side in (-1, 1):
            self.ellipse(side * x, y, a, b, tissue, turn=side * turn, within=within)

    def ellipsoid(
        self,
        e: Ellipsoid,
        tissue: Tissue | None = None,
        *,
        shrink: float = 0.0,
        within: np.ndarray | None = None,
    ) -> None:
        """The cut through an `Ellipsoid`, `shrink` mm inside its border."""
        scale = e.scale(self.t)
        a, b = e.a * scale - shrink, e.b * scale - shrink
        x = e.x + e.slant * (self.t - e.t)
        self.ellipse(x, e.y, a, b, tissue or e.tissue, turn=e.turn, within=within)
        if e.gas is not None and shrink:
            level = e.y + e.gas * e.b
            self.ellipse(x, e.y, a, b, GAS, turn=e.turn, within=within, above=level)

    def hollow(self, e: Ellipsoid, wall: Tissue, thickness: float, within: np.ndarray) -> None:
        """An `Ellipsoid` with a wall, such as the stomach."""
        self.ellipsoid(e, wall, within=within)
        self.ellipsoid(e, shrink=thickness, within=within)

    def stroke(
        self, points: np.ndarray, radius: float, tissue: Tissue, within: np.ndarray | None = None
    ) -> None:
        """A line of `[n, 2]` mm, 2 `radius` thick, with round ends."""
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        window, x, y = self._near(left, top, right, bottom, radius)
        distance = np.full((1, 1), np.inf, np.float32)
        for (x0, y0), (x1, y1) in pairwise(points.tolist()):
            dx, dy = x1 - x0, y1 - y0
            along = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy + 1e-6)
            along = along.clip(0, 1)
            distance = np.minimum(distance, (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2)
        share = self.cover(radius - np.sqrt(distance))
        self.fill(share if within is None else share * within[window], tissue, window)

    def outside(self, e: Ellipsoid) -> np.ndarray:
        """Where the slice is outside an `Ellipsoid`: 0..1 in each pixel."""
        scale = max(e.scale(self.t), 1e-3)
        x, y, a, b = float(e.x), float(e.y), float(e.a * scale), float(e.b * scale)
        distance = np.sqrt(((self.x - x) / a) ** 2 + ((self.y - y) / b) ** 2)
        return self.cover((distance - 1) * min(a, b))

    def cover(self, depth: np.ndarray) -> np.ndarray:
        """The share of a pixel that is inside a border, `depth` mm behind its middle."""
        return (depth / self.pixel + 0.5).clip(0, 1)

    def _near(
        self, x0: float, y0: float, x1: float, y1: float, reach: float
    ) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        """The window `reach` mm around a rectangle, and the x and y of its pixels."""
        reach = reach + self.pixel
        rows = slice(*np.searchsorted(self.y[:, 0], (y0 - reach, y1 + reach)))
        columns = slice(*np.searchsorted(self.x[0], (x0 - reach, x1 + reach)))
        return (rows, columns), self.x[:, columns], self.y[rows]
