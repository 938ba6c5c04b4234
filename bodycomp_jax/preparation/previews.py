"""Pictures of a set that show a wrong label at a glance, without names of patients."""

import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bodycomp_jax import ct
from bodycomp_jax.data.npy import NpyRows
from bodycomp_jax.data.squares import square_image, square_mask
from bodycomp_jax.metrics.tinting import (
    COLOURS,
    NOT_LABELLED,
    draw_legend,
    label_colours,
    tinted,
    uncoloured,
)

TILE, COLUMNS, ROWS = 192, 6, 4  # pixels of a slice; slices of a sheet
MAX_SHEETS = 4  # of a split
FONT_SIZE = 14
LEGEND = {ct.spaced(tissue): COLOURS[tissue] for tissue in ct.TISSUES} | {
    'not labelled': NOT_LABELLED
}


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
        draw_legend(sheet, font, LEGEND, ROWS * TILE)
        sheet.save(os.path.join(folder, f'{split}_{i:03d}.png'))


def _labelled(hu: np.ndarray, labels: np.ndarray) -> Image.Image:
    return Image.fromarray(tinted(uncoloured(hu), labels, label_colours(ct.TISSUES)))
