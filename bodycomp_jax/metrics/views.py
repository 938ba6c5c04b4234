"""A series seen from the front and from the side."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bodycomp_jax.metrics.figures import TRUE

FONT_SIZE = 14
SLAB = 9.0  # mm on either side of the middle, seen from the side
BODY = 60  # grey value that the body exceeds
MAX_HEIGHT = 2000  # pixels of a picture of a series


def series_views(
    read: Callable[[Sequence[int]], np.ndarray],
    z: np.ndarray,
    pixel: float,
    levels: Mapping[str, float],
) -> np.ndarray:
    """A series seen from the front and from the left, with a line at each level.

    Args:
      read: the slices at some indices, `[B, S, S]` uint8 grey values, rows to the patient's left,
        columns to the back.
      z: `[N]` mm of each slice, increasing; between slices the views are interpolated.
      pixel: mm of a pixel of the slices.
      levels: {name: mm}.

    Returns:
      `[h, 2 * S, 3]` uint8, the head at the top.
    """
    sample = read(np.linspace(0, len(z) - 1, min(len(z), 32)).astype(int).tolist())
    mass = (sample > BODY).sum(0)
    middle_row, middle_column = (_middle(mass.sum(axis)) for axis in (1, 0))
    slab = max(1, round(SLAB / pixel))
    left = max(0, middle_column - slab)
    front, side = [], []
    for i in range(len(z)):
        (grey,) = read([i])
        front.append(grey[middle_row:].mean(0))
        side.append(grey[:, left : middle_column + slab].mean(1))
    views = np.concatenate([_stretched(np.stack(view)) for view in (front, side)], axis=1)
    mm = max(pixel, (z[-1] - z[0]) / MAX_HEIGHT)
    picture = Image.fromarray(_interpolated(views, z, mm)).convert('RGB')
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT_SIZE)
    for name, height in levels.items():
        y = (z[-1] - height) / mm
        if 0 <= y < picture.height:
            draw.line((0, y, picture.width, y), fill=TRUE)
            draw.text((2, y - FONT_SIZE - 2), name, font=font, fill=TRUE)
    return np.asarray(picture)


def _interpolated(views: np.ndarray, z: np.ndarray, mm: float) -> np.ndarray:
    """`[N, W]` rows at heights z as rows every `mm` mm from the head down, uint8."""
    heights = np.arange(z[-1], z[0] - mm / 2, -mm)
    place = np.interp(heights, z, np.arange(len(z)))
    below = place.astype(int)
    above = np.minimum(below + 1, len(z) - 1)
    share = (place - below)[:, None]
    return np.rint((1 - share) * views[below] + share * views[above]).astype(np.uint8)


def _middle(mass: np.ndarray) -> int:
    """The centre of mass of a profile; its middle if it is empty."""
    where = np.arange(len(mass))
    return round(float(np.average(where, weights=mass))) if mass.any() else len(mass) // 2


def _stretched(view: np.ndarray) -> np.ndarray:
    """Grey values from black to white."""
    return (view * (255 / max(view.max(), 1))).astype(np.uint8)
