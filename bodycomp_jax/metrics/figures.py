"""Figures that show what a network got right and wrong."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bodycomp_jax import ct, vertebrae
from bodycomp_jax.metrics.tinting import (
    COLOURS,
    NOT_LABELLED,
    Colour,
    draw_legend,
    label_colours,
    tinted,
    uncoloured,
)

MISSED = (255, 255, 255)
TITLES = ('slice', 'labels', 'prediction', 'prediction where it differs')
TILE = 384  # pixels, at least; slices are enlarged by whole factors
FONT_SIZE, MARGIN = 16, 8
MAX_CURVES = 4  # series that are drawn
MAX_TITLE = 40  # characters of the name of a series and the level
CURVE_SIZE = (800, 360)  # pixels
CAPTION_BYTES, BYTES_PER_PIXEL, CURVE_BYTES = 20_000, 4, 16_000  # of PNG files of real slices
PREDICTED, TRUE, AXIS = (64, 176, 228), (240, 201, 62), (110, 110, 110)


def segmentation_figures(
    logits: np.ndarray,
    images: np.ndarray,
    masks: np.ndarray,
    *,
    tissues: Sequence[str],
    apply_window: bool,
) -> list[np.ndarray]:
    """A figure per slice: the slice, its labels, the prediction, and where the two differ.

    Args:
      logits: `[B, H, W, C]`, or probabilities.
      images: `[B, H, W]` HU or, without the window, grey values.
      masks: `[B, H, W]` labels; what is not labelled is grey.
      tissues: names of the labels 1, 2, ...
      apply_window: whether the images are HU.

    Returns:
      list of B figures `[h, w, 3]` uint8.
    """
    return [
        comparison_figure(image, mask, labels, tissues=tissues, apply_window=apply_window)
        for image, mask, labels in zip(images, masks, logits.argmax(-1), strict=True)
    ]


def comparison_figure(
    image: np.ndarray,
    mask: np.ndarray,
    prediction: np.ndarray,
    *,
    tissues: Sequence[str],
    apply_window: bool,
) -> np.ndarray:
    """The figure of `segmentation_figures` for a slice.

    Args:
      image, mask: `[H, W]`, as there.
      prediction: `[H, W]` labels.
      tissues, apply_window: as there.

    Returns:
      `[h, w, 3]` uint8.
    """
    grey = uncoloured(image, is_hu=apply_window)
    colours = label_colours(tissues)
    differs = ((mask != prediction) & (mask != ct.NOT_LABELLED))[..., None]
    shown = np.where((prediction == 0)[..., None], MISSED, colours[prediction]).astype(np.uint8)
    tiles = [
        grey,
        tinted(grey, mask, colours),
        tinted(grey, prediction, colours),
        np.where(differs, shown, grey // 3),
    ]
    zoom = -(-TILE // len(grey))
    strip = np.concatenate([t.repeat(zoom, 0).repeat(zoom, 1) for t in tiles], axis=1)
    return _with_captions(strip, _legend(mask, prediction, tissues))


def level_figures(
    predicted: np.ndarray,
    *,
    offsets: np.ndarray,
    series: Mapping[str, np.ndarray],
    levels: Sequence[str],
    threshold: float,
) -> list[np.ndarray]:
    """Predicted and true sigmoid(offset / threshold) along z, for up to `MAX_CURVES` series.

    Args:
      predicted, offsets: `[N, L]` mm.
      series: {name: indices of its slices}.
      levels: names of the L levels.
      threshold: mm.

    Returns:
      list of figures `[h, w, 3]` uint8, the levels of a series one above the other.
    """
    return [
        np.concatenate(
            [
                _true_curve(f'{name}, {level}', offsets[rows, i], predicted[rows, i], threshold)
                for i, level in enumerate(levels)
            ]
        )
        for name, rows in itertools.islice(series.items(), MAX_CURVES)
    ]


def segmentation_bytes(count: int, image_shape: tuple[int, ...]) -> int:
    """About the size of `count` segmentation figures of slices `(H, W)` as PNG files."""
    height, width = image_shape
    return count * (CAPTION_BYTES + BYTES_PER_PIXEL * height * width)


def level_bytes(series: int, levels: int) -> int:
    """About the size of the level figures of so many series as PNG files."""
    return min(series, MAX_CURVES) * levels * CURVE_BYTES


def level_curve(
    z: np.ndarray,
    offsets: np.ndarray,
    threshold: float,
    *,
    level: float,
    found: float,
    titles: tuple[str, str],
    size: tuple[int, int] = CURVE_SIZE,
) -> np.ndarray:
    """The predicted sigmoid(offset / threshold) along z, and the one of a level.

    Args:
      z: `[N]` mm of the slices, in any order.
      offsets: `[N]` mm, predicted.
      threshold: mm.
      level: mm, of the level whose curve is drawn.
      found: mm, of the position that the prediction gives; may be NaN.
      titles: of the two curves, in their colours: of the level, of the prediction.
      size: width and height in pixels.

    Returns:
      `[height, width, 3]` uint8.
    """
    width, height = size
    left, top, bottom = 6 * MARGIN, 4 * MARGIN, height - 4 * MARGIN
    order = np.argsort(z)
    z = z[order]
    span = max(z[-1] - z[0], 1.0)
    figure = Image.new('RGB', size)
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(FONT_SIZE)

    def place(mm, share):
        return left + (mm - z[0]) / span * (width - left - MARGIN), bottom - share * (bottom - top)

    def line(mm, shares, colour, width=2):
        draw.line(list(map(place, mm, shares)), fill=colour, width=width)

    for share in (0, 0.5, 1):
        line((z[0], z[-1]), (share, share), AXIS, 1)
        draw.text((MARGIN, place(0, share)[1]), str(share), font=font, anchor='lm')
    for mm, anchor in ((z[0], 'lb'), (z[-1], 'rb')):
        draw.text((place(mm, 0)[0], height - 2), f'{mm:+z.0f} mm', font=font, anchor=anchor)
    line(z, vertebrae.sigmoid((z - level) / threshold), TRUE)
    line(z, np.nan_to_num(vertebrae.sigmoid(offsets[order] / threshold)), PREDICTED)
    for mm, colour in ((level, TRUE), (found, PREDICTED)):
        if z[0] <= mm <= z[-1]:
            line((mm, mm), (0, 1), colour, 1)
    draw.text((left, 2), titles[0], font=font, fill=TRUE)
    draw.text((width - MARGIN, 2), titles[1], font=font, fill=PREDICTED, anchor='ra')
    return np.asarray(figure)


def _true_curve(
    title: str, true: np.ndarray, predicted: np.ndarray, threshold: float
) -> np.ndarray:
    """One level in one series; z is the position relative to the level."""
    position = vertebrae.find_level(true, predicted, threshold)
    text = 'outside the series' if position.outside else f'{position.z:+z.1f} mm'
    if np.isnan(position.z):
        text = 'not finite'
    titles = f'{title[-MAX_TITLE:]}: true', f'predicted: {text}'
    return level_curve(true, predicted, threshold, level=0, found=position.z, titles=titles)


def _legend(mask: np.ndarray, prediction: np.ndarray, tissues: Sequence[str]) -> dict[str, Colour]:
    """{text: colour} of each tissue, with its Dice in this slice, and of the other colours."""
    is_labelled = mask != ct.NOT_LABELLED
    entries = {}
    for label, tissue in enumerate(tissues, start=1):
        predicted, labelled = (prediction == label) & is_labelled, mask == label
        text = ct.spaced(tissue)
        if labelled.any():
            dice = 2 * (predicted & labelled).sum() / (predicted.sum() + labelled.sum())
            text += f', Dice {dice:.3f}'
        entries[text] = COLOURS[tissue]
    rest = {} if is_labelled.all() else {'not labelled': NOT_LABELLED}
    return {**entries, 'predicted as background': MISSED, **rest}


def _with_captions(strip: np.ndarray, legend: dict[str, Colour]) -> np.ndarray:
    line = FONT_SIZE + MARGIN
    height, width = strip.shape[:2]
    figure = Image.new('RGB', (width, height + 2 * line))
    figure.paste(Image.fromarray(strip), (0, line))
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(FONT_SIZE)
    for i, title in enumerate(TITLES):
        draw.text((i * width // len(TITLES) + MARGIN, 2), title, font=font)
    draw_legend(figure, font, legend, height + line)
    return np.asarray(figure)
