"""Agreement, against the examples of those who described it."""

import numpy as np
import pytest

from bodycomp_jax.metrics.agreement import icc, limits_of_agreement

# Six subjects and four judges: Shrout and Fleiss, Psychological Bulletin 1979, table 2.
JUDGES = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)
# Peak flow by two meters, l/min: Bland and Altman, Lancet 1986, first measurements of table 1.
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def icc_of(values):
    return icc(values.mean(0), values.T @ values / len(values), len(values))


def test_icc_of_the_published_example():
    assert icc_of(JUDGES) == pytest.approx(0.29, abs=0.005)


def test_icc_knows_the_difference_of_raters():
    values = np.arange(10.0)
    assert icc_of(np.stack([values, values], axis=1)) == pytest.approx(1)
    assert icc_of(np.stack([values, values + 5], axis=1)) < 0.5
    assert np.isnan(icc_of(np.ones((10, 2))))


def test_icc_of_many_resamples_is_that_of_each():
    first, second = JUDGES[:, :2], JUDGES[:, 2:]
    means = np.stack([first.mean(0), second.mean(0)])
    products = np.stack([first.T @ first, second.T @ second]) / len(JUDGES)
    np.testing.assert_allclose(icc(means, products, 6), [icc_of(first), icc_of(second)])


def test_limits_of_the_published_example():
    found = limits_of_agreement(np.subtract(WRIGHT, MINI))
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert (found.upper - found.lower) / 2 / 1.96 == pytest.approx(38.8, abs=0.05)
