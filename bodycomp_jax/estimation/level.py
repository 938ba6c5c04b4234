"""Where the levels of a series are, from few of its slices."""

from collections.abc import Iterator, Sequence

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.scans import Series
from bodycomp_jax.data.squares import padded
from bodycomp_jax.estimation.result import Curve, SeenSlices
from bodycomp_jax.inference.batches import MAX_BATCH
from bodycomp_jax.inference.predictors import SliceSelector
from bodycomp_jax.vertebrae import (
    REACH,
    SPREAD_MM,
    LevelPosition,
    are_spine,
    find_level,
    fit_spine,
    spread,
)

COARSE_MM = 15.0  # between the slices that a network without a spine sees first
VIEW_SIDE = 256  # pixels of a slice in views of the series; at most


def find_levels(
    selector: SliceSelector, series: Series, levels: Sequence[str]
) -> tuple[dict[str, Curve], SeenSlices]:
    """Finds levels in a series.

    A network that knows a spine sees slices about `SPREAD_MM` apart, which place it. Another sees
    slices `COARSE_MM` apart, then all on which a position depends: those around each point where
    the offsets change their sign. Its position is that of all slices, at a fraction of the work.

    Args:
      selector: knows the levels.
      series: whose slices are read as they are needed.
      levels: the names of these levels.

    Returns:
      ({level: the curve of the slices that were seen, and the position};
       these slices, for views of the series).

    Raises InputError if a slice cannot be read.
    """
    known, threshold = selector.config.levels, selector.config.threshold
    order = np.argsort(series.z, kind='stable')
    z = series.z[order]
    offsets = np.zeros((len(z), len(known)), np.float32)
    views: dict[int, np.ndarray] = {}
    first = spread(z, SPREAD_MM if are_spine(known) else COARSE_MM)
    seen, wanted = np.zeros(len(z), bool), first.copy()
    spine: dict[str, LevelPosition] | None = None
    while (new := np.flatnonzero(wanted & ~seen)).size:
        found, views_of_new = _offsets_and_views(selector, series, order[new])
        offsets[new] = found
        views |= zip(new.tolist(), views_of_new, strict=True)
        seen[new] = True
        if spine is None:
            spine = fit_spine(z[first], offsets[first], known, threshold)
        curves = {}
        for level in levels:
            of_level = offsets[seen, known.index(level)]
            alone = level not in spine
            position = find_level(z[seen], of_level, threshold) if alone else spine[level]
            curves[level] = Curve(z[seen], of_level, position)
            if alone:
                for low, high in _intervals(curves[level]):
                    wanted[_around(z, low, high)] = True
    pixel = series.slices[0].grid.spacing[1] * _step(series)
    return curves, SeenSlices(np.stack([views[i] for i in sorted(views)]), z[seen], pixel)


def confidence(position: LevelPosition) -> float:
    """How well the predicted curve has the form of a level: 1 if exactly.

    0 for a network that says nothing, and for one that says the opposite.
    """
    return max(0.0, 1 - 2 * position.misfit)


def _intervals(curve: Curve) -> Iterator[tuple[float, float]]:
    """The mm between which the offsets change their sign, and the position."""
    positive = curve.offsets >= 0
    for i in np.flatnonzero(positive[1:] != positive[:-1]):
        yield curve.z[i], curve.z[i + 1]
    if np.isfinite(curve.position.z):
        yield curve.position.z, curve.position.z


def _around(z: np.ndarray, low: float, high: float) -> slice:
    """The slices on which a position between `low` and `high` mm depends.

    It depends on the slice below and the one above it, these on all within `REACH` of them, and
    the weights of those on their neighbours.
    """
    below = max(0, int(np.searchsorted(z, low, 'right')) - 1)
    above = min(len(z) - 1, int(np.searchsorted(z, high, 'left')))
    first = int(np.searchsorted(z, z[below] - REACH, 'left')) - 1
    last = int(np.searchsorted(z, z[above] + REACH, 'right'))
    return slice(max(0, first), last + 1)


def _offsets_and_views(
    selector: SliceSelector, series: Series, indices: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """`[N, L]` mm of these slices, and views of them; few slices are in memory at once."""
    step = _step(series)
    offsets, views = [], []
    for start in range(0, len(indices), MAX_BATCH):
        batch = indices[start : start + MAX_BATCH].tolist()
        squares = np.stack([padded(hu, ct.AIR) for hu in series.read(batch)])  # for the views
        offsets.append(selector(squares, check_values=False))
        small = squares[:, ::step, ::step].astype(np.float32)
        views += list(ct.window(small).astype(np.uint8))
    return np.concatenate(offsets), views


def _step(series: Series) -> int:
    """The pixels of a slice from one pixel of the views to the next."""
    grid = series.slices[0].grid
    return -(-max(grid.rows, grid.columns) // VIEW_SIDE)
