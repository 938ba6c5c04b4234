"""Where the levels of a series are, from few of its slices."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from bodycomp_jax.data.scans import Series
from bodycomp_jax.data.squares import AIR, padded
from bodycomp_jax.estimation.result import Curve
from bodycomp_jax.inference.predictors import MAX_BATCH, SliceSelector
from bodycomp_jax.vertebrae import REACH, LevelPosition, find_level

COARSE_MM = 15.0  # between the slices that are seen first


def find_levels(selector: SliceSelector, series: Series, levels: Sequence[str]) -> dict[str, Curve]:
    """Finds levels in a series.

    The network sees a slice every 15 mm, then all on which a position depends: those around each
    point where the offsets change their sign. The position is that of all slices, at a fraction of
    the work.

    Args:
      selector: knows the levels.
      series: whose slices are read as they are needed.
      levels: the names of these levels.

    Returns:
      {level: the curve of the slices that were seen, and the position}.

    Raises InputError if a slice cannot be read.
    """
    columns = [selector.config.levels.index(level) for level in levels]
    threshold = selector.config.threshold
    order = np.argsort(series.z, kind='stable')
    z = series.z[order]
    offsets = np.zeros((len(z), len(levels)), np.float32)
    seen, wanted = np.zeros(len(z), bool), _coarse(z)
    while (new := np.flatnonzero(wanted & ~seen)).size:
        offsets[new] = _offsets(selector, series, order[new])[:, columns]
        seen[new] = True
        curves = {
            level: Curve(z[seen], of_level, find_level(z[seen], of_level, threshold))
            for level, of_level in zip(levels, offsets[seen].T, strict=True)
        }
        for curve in curves.values():
            for low, high in _intervals(curve):
                wanted[_around(z, low, high)] = True
    return curves


def confidence(position: LevelPosition) -> float:
    """How well the predicted curve has the form of a level: 1 if exactly.

    0 for a network that says nothing, and for one that says the opposite.
    """
    return max(0.0, 1 - 2 * position.misfit)


def _coarse(z: np.ndarray) -> np.ndarray:
    """`[N]` booleans of slices about `COARSE_MM` apart, with both ends; z is sorted."""
    chosen = np.zeros(len(z), bool)
    chosen[[0, -1]] = True
    last = z[0]
    for i, (mm, following) in enumerate(itertools.pairwise(z)):
        if following - last > COARSE_MM:
            chosen[i], last = True, mm
    return chosen


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


def _offsets(selector: SliceSelector, series: Series, indices: np.ndarray) -> np.ndarray:
    """`[N, L]` mm of these slices; few of them are in memory at once."""
    starts = range(0, len(indices), MAX_BATCH)
    batches = [indices[start : start + MAX_BATCH].tolist() for start in starts]
    found = [
        selector(np.stack([padded(hu, AIR) for hu in series.read(batch)]), check_values=False)
        for batch in batches
    ]
    return np.concatenate(found)
