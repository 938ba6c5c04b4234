"""Slices with their labels in colour, and what the colours mean."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bodycomp_jax import ct

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {  # distinct for the colour-blind too
    'muscle': (214, 66, 60),
    'subcutaneous_fat': (240, 201, 62),
    'visceral_fat': (64, 176, 228),
    'intermuscular_fat': (120, 94, 190),
}
NOT_LABELLED: Colour = (128, 128, 128)
TINT = 0.55  # of a tissue's colour over the grey slice


def label_colours(tissues: Sequence[str]) -> np.ndarray:
    """`[256, 3]` uint8, the colour of each label; black where there is no tissue."""
    colours = np.zeros((1 + ct.NOT_LABELLED, 3), np.uint8)
    colours[1 : 1 + len(tissues)] = [COLOURS[tissue] for tissue in tissues]
    colours[ct.NOT_LABELLED] = NOT_LABELLED
    return colours


def uncoloured(image: np.ndarray, *, is_hu: bool = True) -> np.ndarray:
    """`[H, W]` HU, in the window that the networks see, or grey values as `[H, W, 3]` uint8."""
    grey = ct.window(image.astype(np.float32)) if is_hu else image.clip(0, 255)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)


def tinted(plain: np.ndarray, labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """A grey slice with its labels in colour.

    Args:
      plain: `[H, W, 3]` grey values.
      labels: `[H, W]` integers.
      colours: of `label_colours`.

    Returns:
      `[H, W, 3]` uint8.
    """
    mixed = (1 - TINT) * plain + TINT * colours[labels]
    return np.where((labels > 0)[..., None], mixed, plain).astype(np.uint8)


def draw_legend(
    picture: Image.Image,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    legend: Mapping[str, Colour],
    y: int,
) -> None:
    """Draws colours beside their texts, spread evenly over the width of a picture, from y on."""
    draw = ImageDraw.Draw(picture)
    for i, (text, colour) in enumerate(legend.items()):
        x = 4 + i * picture.width // len(legend)
        draw.rectangle((x, y + 6, x + 12, y + 18), fill=colour)
        draw.text((x + 20, y + 2), text, font=font)
