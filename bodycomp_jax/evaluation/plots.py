"""Figures as SVG, which a page holds and other programs read."""

import html
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 420, 290
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 26, 40
MAX_POINTS = 1000  # of a series; of more, evenly spread ones are drawn
TICKS = 5
INK, GRID = '#1c2126', '#d5d9de'

Place = Callable[[float, float], tuple[float, float]]  # of values, in the figure


class Points(NamedTuple):
    """Points, or the corners of a line.

    Attributes:
      x, y: `[n]`; those that are not finite are left out.
      colour: (red, green, blue), 0..255.
      label: in the legend; '' for none.
      is_line: whether they are joined.
    """

    x: np.ndarray
    y: np.ndarray
    colour: tuple[int, int, int]
    label: str = ''
    is_line: bool = False


class Level(NamedTuple):
    """A horizontal line across the figure."""

    y: float
    label: str
    is_dashed: bool


class Axes(NamedTuple):
    """The ranges of a figure: the lowest and highest value along x and y."""

    x: tuple[float, float]
    y: tuple[float, float]


def axes_around(points: Sequence[Points], levels: Sequence[Level] = ()) -> Axes:
    """Axes that hold all points and lines, with a margin."""
    return Axes(
        _range([each.x for each in points]),
        _range([*(each.y for each in points), np.array([level.y for level in levels])]),
    )


def plot(
    title: str,
    x_label: str,
    y_label: str,
    points: Sequence[Points],
    axes: Axes,
    levels: Sequence[Level] = (),
) -> str:
    """A figure as an `svg` element that is also a file of its own."""
    (x0, x1), (y0, y1) = axes

    def at(x: float, y: float) -> tuple[float, float]:
        right = LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        return right, HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    parts = _grid(axes, at)
    for each in points:
        parts += _drawn(each, at)
    for level in levels:
        right, down = at(x0, level.y)
        parts += [
            _line(right, down, WIDTH - RIGHT, down, INK, '5 3' if level.is_dashed else ''),
            _text(WIDTH - RIGHT - 2, down - 3, level.label, 'end'),
        ]
    parts += _legend([each for each in points if each.label])
    most = max((len(each.x) for each in points if not each.is_line), default=0)
    thinned = f' ({MAX_POINTS:,} of {most:,} shown)' if most > MAX_POINTS else ''
    centre = TOP + (HEIGHT - TOP - BOTTOM) / 2
    parts += [
        _text(LEFT, 16, title + thinned, weight='bold'),
        _text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 6, x_label, 'middle'),
        f'<g transform="translate(12 {centre}) rotate(-90)">{_text(0, 0, y_label, "middle")}</g>',
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="11" '
        f'fill="{INK}"><title>{html.escape(title)}</title>\n' + '\n'.join(parts) + '\n</svg>\n'
    )


def _grid(axes: Axes, at: Place) -> list[str]:
    """Lines and labels at round numbers."""
    parts = []
    for x in _ticks(*axes.x):
        right, down = at(x, axes.y[0])
        parts += [
            _line(right, TOP, right, down, GRID),
            _text(right, down + 14, f'{x:.6g}', 'middle'),
        ]
    for y in _ticks(*axes.y):
        right, down = at(axes.x[0], y)
        parts += [
            _line(right, down, WIDTH - RIGHT, down, GRID),
            _text(right - 5, down + 4, f'{y:.6g}', 'end'),
        ]
    return parts


def _legend(labelled: Sequence[Points]) -> list[str]:
    parts = []
    for i, each in enumerate(labelled):
        down = TOP + 12 + 14 * i
        parts += [
            f'<rect x="{LEFT + 6}" y="{down - 8}" width="9" height="9" fill="{_hex(each)}"/>',
            _text(LEFT + 20, down, each.label),
        ]
    return parts


def _drawn(points: Points, at: Place) -> list[str]:
    known = np.isfinite(points.x) & np.isfinite(points.y)
    x, y = points.x[known], points.y[known]
    if points.is_line:
        corners = ' '.join('{:.1f},{:.1f}'.format(*at(*xy)) for xy in zip(x, y, strict=True))
        return [
            f'<polyline points="{corners}" fill="none" stroke="{_hex(points)}" stroke-width="2"/>'
        ]
    shown = np.linspace(0, len(x) - 1, min(len(x), MAX_POINTS)).astype(int)
    places = [at(x[i], y[i]) for i in shown]
    circles = ''.join(f'<circle cx="{right:.1f}" cy="{down:.1f}" r="3"/>' for right, down in places)
    style = f'fill="{_hex(points)}" fill-opacity="0.75" stroke="{INK}" stroke-width="0.4"'
    return [f'<g {style}>{circles}</g>']


def _range(values: Sequence[np.ndarray]) -> tuple[float, float]:
    known = np.concatenate([each[np.isfinite(each)] for each in values])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range."""
    step = 10 ** math.floor(math.log10((high - low) / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= TICKS)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step) + 1)]


def _hex(points: Points) -> str:
    return '#{:02x}{:02x}{:02x}'.format(*points.colour)


def _line(x0: float, y0: float, x1: float, y1: float, colour: str, dashes: str = '') -> str:
    style = f' stroke-dasharray="{dashes}"' if dashes else ''
    return (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}"{style}/>'
    )


def _text(x: float, y: float, text: str, anchor: str = 'start', weight: str = 'normal') -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'stroke="#fff" stroke-width="3" paint-order="stroke">{html.escape(text)}</text>'
    )
