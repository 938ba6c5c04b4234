"""Means over units, differences, and which candidate is better."""

import numpy as np
import pytest

from bodycomp_jax.data.table import Column
from bodycomp_jax.evaluation.study import Examples, Metric, Pair
from bodycomp_jax.evaluation.summary import agreement, by_unit, summarize

DICE = Metric('dice', 'muscle', 'Dice', '', True, 3)
ERROR = Metric('error', 'muscle', 'area error', 'cm2', False, 2)
AREA = Pair('dice', 'error', 'muscle', 'area', 'cm2', True)


def examples(dice, error=None, units=None):
    """Of `[N, M]` Dice and errors; each example is a unit by default."""
    dice = np.array(dice, float)
    error = np.zeros_like(dice) if error is None else np.array(error, float)
    units = [f'P{i}' for i in range(len(dice))] if units is None else units
    columns = {'dice': Column('', ''), 'error': Column('cm2', '')}
    numbers = np.stack([dice, error], axis=-1)
    return Examples([{} for _ in units], units, 'patient', columns, numbers)


def noisy(*means, count=30):
    """Units that vary much, and candidates that differ little from each other on each of them."""
    random = np.random.default_rng(0)
    of_unit = random.normal(0, 0.1, (count, 1))
    return of_unit + np.array(means) + random.normal(0, 0.001, (count, len(means)))


def test_a_unit_counts_by_the_mean_of_what_is_known():
    found = by_unit(examples([[1, 2], [3, np.nan], [np.nan, np.nan]], units=['a', 'a', 'b']))
    assert found.units == ['a', 'b']
    np.testing.assert_array_equal(found.of('dice'), [[2, 2], [np.nan, np.nan]])
    assert found.about[0] == {'patient': 'a', 'examples': '2'}


def test_differences_are_paired():
    units = examples(noisy(0.9, 0.88))
    summary = summarize(units, [DICE], 0)
    first, second = (summary.values['dice', m] for m in (0, 1))
    assert first.lower < second.upper  # the intervals overlap, and yet
    assert summary.difference(DICE, 0, 1).lower > 0.019
    assert summary.difference(DICE, 1, 0).upper < -0.019
    assert summary.best(DICE, 2) == 0


def test_lower_may_be_better():
    units = examples(noisy(0, 0), error=noisy(5, 3))
    assert summarize(units, [ERROR], 0).best(ERROR, 2) == 1


def test_only_units_with_both_count():
    dice = noisy(0.9, 0.8)
    dice[:10, 0], dice[20:, 1] = np.nan, np.nan
    assert summarize(examples(dice), [DICE], 0).difference(DICE, 0, 1).n == 10


def test_an_example_that_one_does_not_know_is_of_no_difference():
    error = np.tile([[5.1, 5.0], [5.1, 5.0], [5.1, 5.0], [np.nan, 30.0]], (10, 1))
    units = [f'P{i // 4}' for i in range(40)]
    found = summarize(examples(np.ones((40, 2)), error, units), [ERROR], 0)
    assert found.values['error', 0].mean < found.values['error', 1].mean
    assert found.difference(ERROR, 0, 1).mean == pytest.approx(0.1)
    assert found.is_better(ERROR, 1, 0)
    assert not found.is_better(ERROR, 0, 1)
    assert found.best(ERROR, 2) is None


def test_nobody_is_best_among_equals():
    dice = noisy(0.9, 0.8, 0.9)
    dice[:, 2] = dice[:, 0] + np.where(np.arange(len(dice)) % 2, 0.01, -0.01)
    summary = summarize(examples(dice), [DICE], 0)
    assert summary.best(DICE, 3) is None
    assert summarize(examples(dice[:, :1]), [DICE], 0).best(DICE, 1) is None


def test_what_the_seed_makes_is_no_difference():
    units = examples(noisy(0.9, 0.89, 0.885, 0.8))
    without = summarize(units, [DICE], 0)
    assert without.is_better(DICE, 0, 1)
    summary = summarize(units, [DICE], 0, alike={(0, 1)})
    assert summary.by_seed(DICE) == pytest.approx(0.01, abs=0.001)
    assert not summary.is_better(DICE, 0, 1)
    assert not summary.is_better(DICE, 1, 2)  # 0.005, less than the seed
    assert summary.is_better(DICE, 0, 3)


def test_agreement_of_a_constant_difference():
    known = np.arange(10.0, 20)[:, None]
    found = agreement(by_unit(examples(known + 2, known)), AREA, 0, 0)
    assert found.n == 10
    assert found.limits == pytest.approx((2, 2, 2))
    assert found.percent.bias == pytest.approx(np.mean(200 / (known + 1)))
    variance = known.var(ddof=1)
    assert found.icc == pytest.approx(variance / (variance + 2))  # a bias of 2 costs 2**2 / 2
    assert found.interval[0] < found.icc < found.interval[1]


def test_agreement_needs_units():
    assert agreement(examples([[1.0], [np.nan]], [[1.0], [1.0]]), AREA, 0, 0) is None
    two = agreement(examples([[1.0], [2.0]], [[1.0], [1.0]]), AREA, 0, 0)
    assert two.n == 2
    assert np.isnan(two.icc)
    zero = agreement(examples([[0.0], [2.0]], [[0.0], [1.0]]), AREA, 0, 0)
    assert zero.percent is None
