"""Pictures of what was measured and where, without names of patients."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bodycomp_jax import ct
from bodycomp_jax.data.scans import Series
from bodycomp_jax.estimation.result import Curve, Measured, SeenSlices
from bodycomp_jax.metrics.figures import level_curve
from bodycomp_jax.metrics.tinting import (
    COLOURS,
    Colour,
    draw_legend,
    label_colours,
    tinted,
    uncoloured,
)
from bodycomp_jax.metrics.views import series_views
from bodycomp_jax.runtime.files import replacing

TILE, MIN_HEIGHT = 480, 240  # pixels of a slice; at least of the row below
FONT_SIZE, LINE = 15, 24  # pixels
QUALITY = 85  # of JPEG


def draw_preview(
    path: str,
    series: Series,
    level: str,
    *,
    measured: Measured | None = None,
    seen: SeenSlices | None = None,
    curve: Curve | None = None,
    threshold: float = 1.0,
) -> None:
    """Writes a JPEG file: a slice, with its tissues, and where it is in the series.

    At least one of `measured`, `seen` and `curve` is given.

    Args:
      path: of the picture.
      series: to which the slice belongs.
      level: such as 'L3'.
      measured: the slice; None if there is none at the level.
      seen: slices of the series, for the views from the front and from the left.
      curve: of the level; not drawn if its position is unknown.
      threshold: mm, of the network that predicts the curve.

    Raises OSError that names the path.
    """
    rows, below = [], []
    if measured is not None:
        title = _title(series, measured)
        rows.append(_captioned(title, _axial(series, measured), _legend(measured)))
    if seen is not None:
        z = {} if measured is None else {level: series.slices[measured.index].z}
        below.append(_views(seen, z))
    if curve is not None and math.isfinite(curve.position.z):
        height = max([MIN_HEIGHT, *(part.height for part in below)])
        below.append(_curve(level, curve, threshold, height))
    if below:
        rows.append(_beside(below))
    picture = Image.new('RGB', (2 * TILE, sum(row.height for row in rows)))
    y = 0
    for row in rows:
        picture.paste(row, (0, y))
        y += row.height
    with replacing(path, binary=True) as file:
        picture.save(file, 'JPEG', quality=QUALITY, subsampling=0)  # thin lines keep their colour


def _axial(series: Series, measured: Measured) -> Image.Image:
    """The slice without and with its tissues, in the proportions of the patient."""
    grid = series.slices[measured.index].grid
    grey = uncoloured(measured.hu)
    coloured = tinted(grey, measured.labels, label_colours(ct.IN_MASKS))
    height, width = grid.rows * grid.spacing[0], grid.columns * grid.spacing[1]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    both = Image.new('RGB', (2 * TILE, size[1]))
    draw, font = ImageDraw.Draw(both), ImageFont.load_default(FONT_SIZE)
    for i, tile in enumerate((grey, coloured)):
        x = i * TILE + (TILE - size[0]) // 2
        both.paste(Image.fromarray(tile).resize(size, Image.Resampling.BILINEAR), (x, 0))
        draw.text((x + 4, size[1] // 2), 'R', font=font, anchor='lm')
        draw.text((x + size[0] // 2, 2), 'A', font=font, anchor='ma')
    return both


def _captioned(title: str, picture: Image.Image, legend: dict[str, Colour]) -> Image.Image:
    """A picture below its title and above the colours of the tissues, each with a text."""
    whole = Image.new('RGB', (picture.width, picture.height + 2 * LINE))
    whole.paste(picture, (0, LINE))
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(FONT_SIZE)
    draw.text((4, 2), title, font=font)
    draw_legend(whole, font, legend, LINE + picture.height)
    return whole


def _title(series: Series, measured: Measured) -> str:
    z = series.slices[measured.index].z
    return f'{measured.level}: slice {measured.index + 1} of {len(series)}, z = {z:.1f} mm'


def _legend(measured: Measured) -> dict[str, Colour]:
    """{name and area, if that is known: colour} of each tissue."""
    colours = {}
    for tissue in _shown(measured.labels):
        area = measured.numbers.get(f'{tissue}_area_cm2')
        name = ct.spaced(tissue)
        text = name if area is None else f'{name}: {area:.1f} cm2'
        colours[text] = COLOURS[tissue]
    return colours


def _shown(labels: np.ndarray) -> tuple[str, ...]:
    """The tissues, and fat in muscle where it is labelled apart."""
    return ct.IN_MASKS if (labels == ct.INTERMUSCULAR_FAT).any() else ct.TISSUES


def _views(seen: SeenSlices, levels: dict[str, float]) -> Image.Image:
    order = np.argsort(seen.z, kind='stable')
    views = series_views(lambda rows: seen.grey[order[rows]], seen.z[order], seen.pixel, levels)
    picture = Image.fromarray(views)
    picture.thumbnail((TILE, TILE))
    return picture


def _curve(level: str, curve: Curve, threshold: float, height: int) -> Image.Image:
    z = curve.position.z
    outside = ' (outside)' if curve.position.outside else ''
    found = f'predicted: {level} at {z:.1f} mm{outside}'
    return Image.fromarray(
        level_curve(
            curve.z,
            curve.offsets,
            threshold,
            level=z,
            found=z,
            titles=('ideal curve', found),
            size=(TILE, height),
        )
    )


def _beside(parts: list[Image.Image]) -> Image.Image:
    row = Image.new('RGB', (2 * TILE, max(part.height for part in parts)))
    for i, part in enumerate(parts):
        row.paste(part, (i * TILE + (TILE - part.width) // 2, 0))
    return row
