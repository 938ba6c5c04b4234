"""Intervals by resampling units, such as patients."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
CHUNK = 1 << 22  # drawn units in memory
QUANTILES = (0.025, 0.975)
MIN_UNITS = 6  # with fewer, even differences of one sign in all are no evidence (2 / 2**5 > 0.05)


class Interval(NamedTuple):
    """A mean over units with its 95 % interval.

    Attributes:
      mean: NaN if nothing is known.
      lower, upper: NaN if fewer than two units are known.
      n: number of units that are known.
    """

    mean: float
    lower: float
    upper: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the mean is not 0, as far as enough units show."""
        return self.n >= MIN_UNITS and (self.lower > 0 or self.upper < 0)


def intervals(values: np.ndarray, seed: int) -> list[Interval]:
    """The mean of each column over the units where it is known, with percentile intervals.

    All columns are resampled together: a unit counts in all or none.

    Args:
      values: `[U, C]`, NaN where unknown.
      seed: of the resamples.
    """
    known = np.isfinite(values)
    means = _means(np.ones((1, len(values))), values, known)[0]
    resampled = resampled_means(values, seed)
    found = []
    for mean, column, n in zip(means, resampled.T, known.sum(0), strict=True):
        lower, upper = interval_of(column) if n > 1 else (np.nan, np.nan)
        found.append(Interval(float(mean), lower, upper, int(n)))
    return found


def resampled_means(values: np.ndarray, seed: int) -> np.ndarray:
    """`[RESAMPLES, C]` means of the columns; NaN in resamples without a known unit.

    Args:
      values, seed: as of `intervals`.
    """
    known = np.isfinite(values)
    return np.concatenate(
        [_means(weights, values, known) for weights in _resamples(len(values), seed)]
    )


def interval_of(resampled: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of `[RESAMPLES]` statistics; NaN if they are unknown in all resamples."""
    known = resampled[np.isfinite(resampled)]
    if not known.size:
        return np.nan, np.nan
    lower, upper = np.quantile(known, QUANTILES)
    return float(lower), float(upper)


def _resamples(count: int, seed: int) -> Iterator[np.ndarray]:
    """`[R, count]` how often each unit is drawn, in chunks of resamples."""
    rng = np.random.default_rng(seed)
    size = max(1, CHUNK // count)
    for start in range(0, RESAMPLES, size):
        rows = min(size, RESAMPLES - start)
        drawn = rng.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(float)


def _means(weights: np.ndarray, values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`[R, C]` weighted means of the known values."""
    with np.errstate(invalid='ignore'):
        return (weights @ np.where(known, values, 0)) / (weights @ known)
