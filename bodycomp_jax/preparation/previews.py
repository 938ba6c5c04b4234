"""Pictures of a set that show a wrong label or level at a glance, without names of patients."""

import os
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bodycomp_jax import ct
from bodycomp_jax.data.npy import NpyRows
from bodycomp_jax.data.squares import square_image, square_mask
from bodycomp_jax.metrics.figures import COLOURS, NOT_LABELLED, TRUE, label_colours, tinted

TILE, COLUMNS, ROWS = 192, 6, 4  # pixels of a slice; slices of a sheet
MAX_SHEETS = 4  # of a split
FONT_SIZE = 14
SLAB = 9.0  # mm on either side of the middle, seen from the side
BODY = 60  # grey value that the body exceeds
MAX_HEIGHT = 2000  # pixels of a picture of a series


def draw_contact_sheets(folder: str, split: str, images: NpyRows, masks: NpyRows) -> None:
    """Writes pictures of slices spread evenly over a split, with their labels in colour.

    Args:
      folder: an existing folder.
      split: its name, which begins those of the files.
      images, masks: `[N, H, W, 1]` HU and labels.
    """
    count = min(len(images), MAX_SHEETS * COLUMNS * ROWS)
    rows = np.linspace(0, len(images) - 1, count).round().astype(int)
    for i, start in enumerate(range(0, count, COLUMNS * ROWS)):
        sheet = Image.new('RGB', (COLUMNS * TILE, ROWS * TILE + 2 * FONT_SIZE))
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
        for j, row in enumerate(rows[start : start + COLUMNS * ROWS]):
            place = j % COLUMNS * TILE, j // COLUMNS * TILE
            hu, labels = (file.read([row])[0, ..., 0] for file in (images, masks))
            sheet.paste(_labelled(square_image(hu, TILE), square_mask(labels, TILE)), place)
            draw.text(place, str(row), font=font)
        for j, (name, colour) in enumerate(_legend().items()):
            x = j * TILE
            draw.rectangle((x, ROWS * TILE + 8, x + 12, ROWS * TILE + 20), fill=colour)
            draw.text((x + 18, ROWS * TILE + 5), name, font=font)
        sheet.save(os.path.join(folder, f'{split}_{i:03d}.png'))


def draw_series(
    path: str, slices: NpyRows, z: np.ndarray, pixel: float, levels: Mapping[str, float]
) -> None:
    """Writes a series seen from the front and from the left, with a line at each level.

    Args:
      path: of the picture.
      slices: `[N, S, S]` uint8 grey values, rows to the patient's left, columns to the back.
      z: `[N]` mm of each slice, increasing.
      pixel: mm of a pixel of the slices.
      levels: {name: mm}.
    """
    sample = slices.read(np.linspace(0, len(slices) - 1, min(len(slices), 32)).astype(int))
    mass = (sample > BODY).sum(0)
    middle_row, middle_column = (_middle(mass.sum(axis)) for axis in (1, 0))
    slab = max(1, round(SLAB / pixel))
    left = max(0, middle_column - slab)
    front, side = [], []
    for i in range(len(slices)):
        grey = slices.read([i])[0]
        front.append(grey[middle_row:].mean(0))
        side.append(grey[:, left : middle_column + slab].mean(1))
    views = np.concatenate([_stretched(np.stack(view)) for view in (front, side)], axis=1)
    mm = max(pixel, (z[-1] - z[0]) / MAX_HEIGHT)
    heights = np.arange(z[-1], z[0] - mm / 2, -mm)
    nearest = np.abs(heights[:, None] - z).argmin(1) if len(z) > 1 else np.zeros(len(heights), int)
    picture = Image.fromarray(views[nearest]).convert('RGB')
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT_SIZE)
    for name, height in levels.items():
        y = (z[-1] - height) / mm
        if 0 <= y < picture.height:
            draw.line((0, y, picture.width, y), fill=TRUE)
            draw.text((2, y - FONT_SIZE - 2), name, font=font, fill=TRUE)
    picture.save(path)


def _labelled(hu: np.ndarray, labels: np.ndarray) -> Image.Image:
    grey = ct.window(hu.astype(np.float32))
    plain = np.repeat(grey[..., None], 3, axis=-1)
    return Image.fromarray(tinted(plain, labels, label_colours(ct.TISSUES)))


def _legend() -> dict[str, tuple[int, int, int]]:
    colours = {tissue.replace('_', ' '): COLOURS[tissue] for tissue in ct.TISSUES}
    return {**colours, 'not labelled': NOT_LABELLED}


def _middle(mass: np.ndarray) -> int:
    """The centre of mass of a profile; its middle if it is empty."""
    where = np.arange(len(mass))
    return round(float(np.average(where, weights=mass))) if mass.any() else len(mass) // 2


def _stretched(view: np.ndarray) -> np.ndarray:
    """Grey values from black to white."""
    return (view * (255 / max(view.max(), 1))).astype(np.uint8)
