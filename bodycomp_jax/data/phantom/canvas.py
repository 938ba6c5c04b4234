"""A canvas of HU and labels, with the shapes that are painted on it."""

from itertools import pairwise

import numpy as np

from bodycomp_jax.data.phantom import texture
from bodycomp_jax.data.phantom.curves import ANGLES, Ellipsoid
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.outline import SKIN_MM
from bodycomp_jax.data.phantom.tissue import AIR, GAS, Tissue

Window = tuple[slice, slice]
WHOLE = (slice(None), slice(None))


class Canvas:
    """A slice of air, and which share of each pixel is inside the outlines of a `Cut`.

    Its side is `field_of_view` mm, and its middle is at `middle`, mm to the right and downwards.
    Tissues are painted from the outside in. Pixels on a border hold a mixture of HU, as in real
    CT, and the label of the tissue that fills at least half of them.

    Attributes:
      rows, columns: mm of the pixels from the middle of the body, `[side]`.
      x, y: the same for each pixel, displaced by the smooth fields that bend the body.
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
        self.columns, self.rows = positions - np.float32(x0), positions - np.float32(y0)
        self.x, self.y = cut.bent(self.columns, self.rows)
        self._reach = self.pixel + cut.displacement
        self._textures = cut.textures
        self._lopsided = cut.person.lopsided
        self.hu = np.full((side, side), AIR.hu, np.float32)
        self.labels = np.full((side, side), AIR.label, np.uint8)
        self.radius = np.hypot(self.x, self.y)
        per_radian = (len(ANGLES) - 1) / (2 * np.pi)
        self.angle = (np.arctan2(self.y, self.x) * per_radian + len(ANGLES) // 2).astype(np.intp)
        outlines = (cut.skin, cut.skin - SKIN_MM, cut.wall, cut.cavity, cut.peritoneum)
        self.in_skin, self.in_fat, self.in_wall, self.in_cavity, self.in_peritoneum = (
            self.inside(radii) for radii in outlines
        )

    def inside(self, radii: np.ndarray) -> np.ndarray:
        """The share of each pixel within an outline, given by its radii at `ANGLES`."""
        return self.cover(radii.astype(np.float32)[self.angle] - self.radius)

    def fill(self, share: np.ndarray, tissue: Tissue, window: Window = WHOLE) -> None:
        """Mixes `share` (0..1 in each pixel of the window) of a tissue into what is there."""
        self.hu[window] += share * (float(tissue.hu) - self.hu[window])
        np.copyto(self.labels[window], np.uint8(tissue.label), where=share >= 0.5)

    def bands(self, bands: list[tuple[np.ndarray, np.ndarray]], tissue: Tissue) -> None:
        """Layers of the wall between two outlines each, given by radii at `ANGLES`."""
        ring = np.flatnonzero((self.in_wall > 0) & (self.in_cavity < 1))
        angle, radius = self.angle.ravel()[ring], self.radius.ravel()[ring]
        hu, labels = self.hu.ravel()[ring], self.labels.ravel()[ring]
        for outer, inner in bands:
            share = self.cover(outer.astype(np.float32)[angle] - radius)
            share -= self.cover(inner.astype(np.float32)[angle] - radius)
            hu += share * (float(tissue.hu) - hu)
            labels[share >= 0.5] = tissue.label
        self.hu.ravel()[ring], self.labels.ravel()[ring] = hu, labels

    def ellipse(
        self,
        x: float,
        y: float,
        a: float,
        b: float,
        tissue: Tissue,
        *,
        turn: float = 0.0,
        square: bool = False,
        mottled: float = 0.0,
        uneven: float = 0.0,
        within: np.ndarray | None = None,
        above: float | None = None,
    ) -> None:
        """An ellipse with half axes a and b, `turn` radians clockwise.

        Only inside the coverage `within` and in front of the line y = `above`. Its corners are
        filled if it is `square`; bubbles of gas make it `mottled` by so many HU; it is `uneven`
        with a standard deviation of so many.
        """
        if min(a, b) < 0.5:
            return
        x, y, a, b = float(x), float(y), float(a), float(b)  # NumPy's scalars widen the pixels
        window = self._near(x, y, x, y, max(a, b) * (1.2 if square else 1))
        u, v = self._squares(x, y, a, b, turn, window)
        distance = np.sqrt(u + v if not square else np.sqrt(u * u + v * v))
        share = self.cover((1 - distance) * min(a, b))
        if above is not None:
            share = share * (self.y[window] < above)
        if within is not None:
            share = share * within[window]
        self.fill(share, tissue, window)
        if uneven:
            self.hu[window] += share * np.float32(uneven) * self.texture(texture.FINE, window)
        if mottled:
            bubbles = mottled * (self.texture(texture.FINE, window) + 0.4)
            self.hu[window] -= share * bubbles.clip(0, min(1.6 * mottled, tissue.hu - GAS.hu))

    def pair(self, x: float, y: float, a: float, b: float, tissue: Tissue, **more) -> None:
        """An ellipse and its mirror image, of which one may be larger."""
        turn = more.pop('turn', 0.0)
        for side in (-1, 1):
            size = 1 + side * self._lopsided / 2
            self.ellipse(side * x, y, size * a, size * b, tissue, turn=side * turn, **more)

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
        mottled = e.mottled if shrink else 0.0
        self.ellipse(x, e.y, a, b, tissue or e.tissue, turn=e.turn, mottled=mottled, within=within)
        if e.gas is not None and shrink:
            self.ellipse(x, e.y, a, b, GAS, turn=e.turn, within=within, above=e.gas)

    def hollow(self, e: Ellipsoid, wall: Tissue, thickness: float, within: np.ndarray) -> None:
        """An `Ellipsoid` with a wall, such as the stomach."""
        self.ellipsoid(e, wall, within=within)
        self.ellipsoid(e, shrink=thickness, within=within)

    def stroke(
        self, points: np.ndarray, radius: float, tissue: Tissue, within: np.ndarray | None = None
    ) -> None:
        """A line of `[n, 2]` mm, 2 `radius` thick, with round ends."""
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        window = self._near(left, top, right, bottom, radius)
        x, y = self.x[window], self.y[window]
        distance = np.full((1, 1), np.inf, np.float32)
        for (x0, y0), (x1, y1) in pairwise(points.tolist()):
            dx, dy = x1 - x0, y1 - y0
            along = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy + 1e-6)
            along = along.clip(0, 1)
            distance = np.minimum(distance, (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2)
        thin = min(1.0, 2 * radius / self.pixel)  # a line thinner than a pixel never fills one
        share = self.cover(float(radius) - np.sqrt(distance)).clip(max=thin)
        self.fill(share if within is None else share * within[window], tissue, window)

    def outside(self, e: Ellipsoid) -> np.ndarray:
        """Where the slice is outside an `Ellipsoid`: 0..1 in each pixel."""
        scale = max(e.scale(self.t), 1e-3)
        a, b = float(e.a * scale), float(e.b * scale)
        x = e.x + e.slant * (self.t - e.t)
        distance = np.sqrt(sum(self._squares(float(x), float(e.y), a, b, e.turn, WHOLE)))
        return self.cover((distance - 1) * min(a, b))

    def cover(self, depth: np.ndarray) -> np.ndarray:
        """The share of a pixel that is inside a border, `depth` mm behind its middle."""
        return (depth / self.pixel + 0.5).clip(0, 1)

    def texture(self, scale: float, where: Window | np.ndarray, layer: int = 0) -> np.ndarray:
        """Smooth noise of zero mean and unit variance in a window, or in pixels by flat index.

        Args:
          scale: mm, one of those of `texture`.
          where: the window or the pixels.
          layer: another number, another noise.
        """
        dx, dy = self._textures[layer]
        i, j = texture.indices(self.rows + dy), texture.indices(self.columns + dx)
        if isinstance(where, tuple):
            return texture.tile(scale)[np.ix_(i[where[0]], j[where[1]])]
        side = len(self.rows)
        return texture.tile(scale)[i[where // side], j[where % side]]

    def _squares(
        self, x: float, y: float, a: float, b: float, turn: float, window: Window
    ) -> tuple[np.ndarray, np.ndarray]:
        """Those of the distances along two half axes, 1 at their ends, in each pixel."""
        dx, dy = self.x[window] - x, self.y[window] - y
        cos, sin = float(np.cos(turn)), float(np.sin(turn))
        return ((dx * cos + dy * sin) / a) ** 2, ((dy * cos - dx * sin) / b) ** 2

    def _near(self, x0: float, y0: float, x1: float, y1: float, reach: float) -> Window:
        """The window `reach` mm around a rectangle."""
        reach = reach + self._reach
        return (
            slice(*np.searchsorted(self.rows, (y0 - reach, y1 + reach))),
            slice(*np.searchsorted(self.columns, (x0 - reach, x1 + reach))),
        )
