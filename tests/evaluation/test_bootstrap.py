"""Intervals, against a bootstrap that resamples the units themselves."""

import numpy as np
import pytest

from bodycomp_jax.evaluation import bootstrap
from bodycomp_jax.evaluation.bootstrap import MIN_UNITS, Interval, intervals


def units(count=37):
    """`[U, 2]` values; some of the second are not known."""
    values = np.random.default_rng(3).normal(2, 1, (count, 2))
    values[::5, 1] = np.nan
    return values


def by_resampling(values, seed):
    """(lower, upper) of each column, one resample of the units after the other."""
    random, means = np.random.default_rng(seed), []
    drawn = random.integers(0, len(values), (bootstrap.RESAMPLES, len(values)))
    for rows in drawn:
        means.append(np.nanmean(values[rows], axis=0))
    return np.quantile(means, (0.025, 0.975), axis=0).T


def test_resampling_the_units_gives_the_same():
    values = units()
    found = intervals(values, 5)
    np.testing.assert_allclose([each.mean for each in found], np.nanmean(values, axis=0))
    ends = [(each.lower, each.upper) for each in found]
    np.testing.assert_allclose(ends, by_resampling(values, 5), rtol=1e-12)
    assert [each.n for each in found] == [37, 29]


def test_chunks_do_not_change_the_intervals(monkeypatch):
    whole = intervals(units(), 1)
    monkeypatch.setattr(bootstrap, 'CHUNK', 1000)
    np.testing.assert_allclose(intervals(units(), 1), whole)


def test_a_normal_mean_has_its_known_interval():
    values = np.random.default_rng(0).normal(0, 1, (400, 1))
    (found,) = intervals(values, 0)
    half = 1.96 * values.std() / np.sqrt(400)
    assert (found.upper - found.lower) / 2 == pytest.approx(half, rel=0.05)


def test_what_is_not_known_has_no_interval():
    nothing, one = intervals(np.array([[np.nan, 2.0], [np.nan, np.nan]]), 0)
    assert nothing.n == 0
    assert np.isnan(nothing.mean)
    assert (one.n, one.mean) == (1, 2)
    assert np.isnan([one.lower, one.upper]).all()


def test_few_units_show_nothing():
    assert Interval(1, 0.5, 1.5, MIN_UNITS).excludes_zero
    assert Interval(-1, -1.5, -0.5, MIN_UNITS).excludes_zero
    assert not Interval(1, 0.5, 1.5, MIN_UNITS - 1).excludes_zero
    assert not Interval(1, -0.5, 1.5, 100).excludes_zero
    assert not Interval(np.nan, np.nan, np.nan, 0).excludes_zero
