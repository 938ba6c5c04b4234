"""The figures of the page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.table import number_in, rows_by_name
from bodycomp_jax.evaluation import plots
from bodycomp_jax.evaluation.study import Examples, Metric, Pair
from bodycomp_jax.evaluation.summary import Agreement
from bodycomp_jax.metrics.tinting import COLOURS

CANDIDATES = (  # their colours; more begin again
    (11, 98, 164), (214, 66, 60), (80, 160, 70), (240, 150, 40), (130, 80, 170), (90, 100, 112),
)  # fmt: skip
MAX_NAME = 30  # characters of a candidate in a title


class Figure(NamedTuple):
    """A figure and what it shows."""

    name: str
    svg: str


def bland_altman(
    units: Examples,
    pair: Pair,
    agreements: Sequence[Agreement | None],
    names: Sequence[str],
) -> Iterator[Figure]:
    """Differences over means, a figure a candidate, all with the same axes.

    Args:
      units: numbers by unit.
      pair: of which numbers.
      agreements: of each candidate.
      names: of the candidates.
    """
    measured, known = units.of(pair.measured), units.of(pair.known)
    colour = COLOURS.get(pair.of, CANDIDATES[0])
    points = [
        plots.Points((measured[:, m] + known[:, m]) / 2, measured[:, m] - known[:, m], colour)
        for m in range(len(names))
    ]
    levels = [[] if each is None else _limits(each) for each in agreements]
    axes = plots.axes_around(points, [level for of_each in levels for level in of_each])
    for m, name in enumerate(names):
        if agreements[m] is not None:
            yield Figure(
                f'agreement {pair.of} {pair.title} {m}',
                plots.plot(
                    f'{ct.spaced(pair.of)}, {pair.title}: {name[-MAX_NAME:]}',
                    f'mean of measured and known, {pair.unit}',
                    f'measured minus known, {pair.unit}',
                    [points[m]],
                    axes,
                    levels[m],
                ),
            )


def scatter(
    examples: Examples,
    metric: Metric,
    along: str,
    x: np.ndarray,
    names: Sequence[str],
    *,
    label: str,
) -> Figure | None:
    """A metric of each example along something else; None if that does not vary.

    Args:
      examples: numbers by example.
      metric: which of them.
      along: what x is, in a word.
      x: `[N]` of each example.
      names: of the candidates.
      label: of the axis, with its unit.
    """
    known = x[np.isfinite(x)]
    y = examples.of(metric.column)
    if not known.size or np.ptp(known) == 0 or not np.isfinite(y).any():
        return None
    points = [
        plots.Points(x, y[:, m], CANDIDATES[m % len(CANDIDATES)], name[-MAX_NAME:])
        for m, name in enumerate(names)
    ]
    title = f'{ct.spaced(metric.of)}: {metric.title} by {along}'
    y_label = f'{metric.title}{f", {metric.unit}" if metric.unit else ""}'
    return Figure(title, plots.plot(title, label, y_label, points, plots.axes_around(points)))


def cumulative(examples: Examples, metric: Metric, names: Sequence[str]) -> Figure | None:
    """The share of the examples whose error is at most so large; None if none is known."""
    errors = examples.of(metric.column)
    curves = []
    for m, name in enumerate(names):
        known = np.sort(errors[np.isfinite(errors[:, m]), m])
        if known.size:
            shares = np.arange(1, 1 + len(known)) / len(known)
            x, y = np.repeat(known, 2), np.repeat([0.0, *shares], 2)[1:-1]
            colour = CANDIDATES[m % len(CANDIDATES)]
            curves.append(plots.Points(x, y, colour, name[-MAX_NAME:], is_line=True))
    if not curves:
        return None
    title = f'{ct.spaced(metric.of)}: share of the series by {metric.title}'
    axes = plots.axes_around(curves)
    axes = plots.Axes((0.0, axes.x[1]), (0.0, 1.05))
    label = f'{metric.title} at most, {metric.unit}'
    return Figure(title, plots.plot(title, label, 'share of the series', curves, axes))


def heights(about: Iterable[Mapping[str, str]]) -> np.ndarray:
    """`[N]` mm of each slice above the lowest one of its series in the data; NaN if unknown."""
    slices = list(about)
    series = [each.get('series', each.get('SeriesInstanceUID', '')) for each in slices]
    z = np.array([number_in(each.get('z', '')) for each in slices])
    z[[not name for name in series]] = np.nan
    for rows in rows_by_name(series).values():
        if np.isfinite(z[rows]).any():
            z[rows] -= np.nanmin(z[rows])
    return z


def _limits(agreement: Agreement) -> list[plots.Level]:
    bias, lower, upper = agreement.limits
    return [
        plots.Level(bias, f'bias {bias:+.2f}', False),
        plots.Level(lower, f'{lower:+.2f}', True),
        plots.Level(upper, f'{upper:+.2f}', True),
    ]
