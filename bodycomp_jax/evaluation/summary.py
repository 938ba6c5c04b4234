"""What the numbers of examples say: means by patient, with intervals, and which are better."""

import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.table import rows_by_name
from bodycomp_jax.evaluation.bootstrap import (
    Interval,
    interval_of,
    intervals,
    resampled_means,
)
from bodycomp_jax.evaluation.study import Examples, Metric, Pair
from bodycomp_jax.metrics.agreement import Limits, icc, limits_of_agreement

MIN_RATED = 3  # units of which an ICC is given


class Agreement(NamedTuple):
    """How a measured number agrees with the known one, over units where both are known.

    Attributes:
      n: number of these units.
      limits: of measured minus known.
      percent: of the same, in percent of the mean of both; None where that means nothing.
      icc: ICC(2,1), NaN if it is not known.
      interval: of it.
    """

    n: int
    limits: Limits
    percent: Limits | None
    icc: float
    interval: tuple[float, float]


class Summary(NamedTuple):
    """Means over units.

    Attributes:
      values: {(column of a metric, candidate): its mean}.
      differences: {(column, candidate a, candidate b): a minus b on the same units}, a before b.
      alike: pairs of candidates, a before b, that differ in the seed of their training alone.
    """

    values: dict[tuple[str, int], Interval]
    differences: dict[tuple[str, int, int], Interval]
    alike: Collection[tuple[int, int]]

    def difference(self, metric: Metric, a: int, b: int) -> Interval:
        """By how much the mean of a is larger than that of b."""
        if a < b:
            return self.differences[metric.column, a, b]
        mean, lower, upper, n = self.differences[metric.column, b, a]
        return Interval(-mean, -upper, -lower, n)

    def leader(self, metric: Metric, candidates: int) -> int:
        """The candidate with the best mean."""
        means = [_sign(metric) * self.values[metric.column, m].mean for m in range(candidates)]
        return int(np.argmax(np.nan_to_num(means, nan=-np.inf)))

    def by_seed(self, metric: Metric) -> float:
        """The largest difference that the seed alone makes; 0 where that is not known."""
        found = [abs(self.difference(metric, a, b).mean) for a, b in self.alike]
        return float(np.nanmax([0.0, *found]))

    def is_better(self, metric: Metric, a: int, b: int) -> bool:
        """Whether a is better than b, neither by chance of the units nor of the seed."""
        difference = self.difference(metric, a, b)
        return difference.excludes_zero and (_sign(metric) * difference.mean > self.by_seed(metric))

    def best(self, metric: Metric, candidates: int) -> int | None:
        """The candidate that is better than each other one; None if none is."""
        if candidates < 2:
            return None
        first = self.leader(metric, candidates)
        others = (m for m in range(candidates) if m != first)
        return first if all(self.is_better(metric, first, m) for m in others) else None


def by_unit(examples: Examples) -> Examples:
    """The mean over the examples of each unit where a number is known; one example a unit."""
    rows_of = rows_by_name(examples.units)
    shape = (len(rows_of), *examples.numbers.shape[1:])
    numbers = np.full(shape, np.nan)
    for i, rows in enumerate(rows_of.values()):
        of_unit = examples.numbers[rows]
        known = np.isfinite(of_unit)
        count = known.sum(0)
        total = np.where(known, of_unit, 0).sum(0)
        numbers[i] = np.divide(total, count, out=numbers[i], where=count > 0)
    about = [{examples.unit: name, 'examples': str(len(rows))} for name, rows in rows_of.items()]
    return examples._replace(about=about, units=list(rows_of), numbers=numbers)


def summarize(
    examples: Examples,
    metrics: Sequence[Metric],
    seed: int,
    alike: Collection[tuple[int, int]] = (),
) -> Summary:
    """Means of the metrics over units, and paired differences between candidates.

    A difference is the mean over those examples of a unit in which both are known: one that is
    unknown for a candidate, as HD95 is where it finds nothing, makes it neither better nor worse.

    Args:
      examples: of the units.
      metrics: what is compared.
      seed: of the resamples.
      alike: see `Summary`.
    """
    candidates = range(examples.numbers.shape[1])
    units = by_unit(examples)
    keys: list[tuple] = []
    columns = []
    for metric in metrics:
        values = units.of(metric.column)
        for m in candidates:
            keys.append((metric.column, m))
            columns.append(values[:, m])
        for a, b in itertools.combinations(candidates, 2):
            keys.append((metric.column, a, b))
            columns.append(by_unit(_difference(examples, a, b)).of(metric.column)[:, 0])
    found = dict(zip(keys, intervals(np.stack(columns, axis=1), seed), strict=True))
    return Summary(
        {key: value for key, value in found.items() if len(key) == 2},
        {key: value for key, value in found.items() if len(key) == 3},
        alike,
    )


def _sign(metric: Metric) -> int:
    return 1 if metric.higher_is_better else -1


def _difference(examples: Examples, a: int, b: int) -> Examples:
    """The numbers of candidate a minus those of b, as of one candidate."""
    return examples._replace(numbers=examples.numbers[:, [a]] - examples.numbers[:, [b]])


def agreement(units: Examples, pair: Pair, candidate: int, seed: int) -> Agreement | None:
    """The agreement of a candidate's number with the known one; None for fewer than two units."""
    both = np.stack([units.of(name)[:, candidate] for name in (pair.measured, pair.known)], axis=1)
    both = both[np.isfinite(both).all(1)]
    n = len(both)
    if n < 2:
        return None
    differences, means = both[:, 0] - both[:, 1], both.mean(1)
    percent = None
    if pair.in_percent and (means > 0).all():
        percent = limits_of_agreement(100 * differences / means)
    rating, interval = np.nan, (np.nan, np.nan)
    if n >= MIN_RATED:
        # around the mean, in which the ICC does not differ, so that no digits are lost
        centred = both - both.mean()
        products = (centred[:, :, None] * centred[:, None, :]).reshape(n, 4)
        rating = float(icc(centred.mean(0), products.mean(0).reshape(2, 2), n))
        means = resampled_means(np.concatenate([centred, products], axis=1), seed)
        resampled = icc(means[:, :2], means[:, 2:].reshape(-1, 2, 2), n)
        interval = interval_of(resampled)
    return Agreement(n, limits_of_agreement(differences), percent, rating, interval)
