"""How well two measurements of the same things agree."""

from typing import NamedTuple

import numpy as np

Z_95 = 1.96  # standard deviations on both sides of the mean that hold 95 % of a normal distribution


class Limits(NamedTuple):
    """Differences as described by J. M. Bland and D. G. Altman, Lancet 1986.

    Attributes:
      bias: mean difference.
      lower, upper: the limits between which 95 % of the differences lie if they are normal.
    """

    bias: float
    lower: float
    upper: float


def limits_of_agreement(differences: np.ndarray) -> Limits:
    """Bias and 95 % limits of agreement of `[n]` differences, at least two."""
    bias, deviation = float(differences.mean()), float(differences.std(ddof=1))
    return Limits(bias, bias - Z_95 * deviation, bias + Z_95 * deviation)


def icc(means: np.ndarray, products: np.ndarray, n: int) -> np.ndarray:
    """ICC(2,1) of P. E. Shrout and J. L. Fleiss, Psychological Bulletin 1979.

    Two-way random effects, absolute agreement, a single rater. It takes moments, which are cheap to
    resample.

    Args:
      means: `[..., k]` mean of the n values of each of k raters.
      products: `[..., k, k]` mean of the products of the values of two raters.
      n: number of things that are rated.

    Returns:
      `[...]`; NaN where all values are equal.
    """
    k = means.shape[-1]
    covariance = (products - means[..., :, None] * means[..., None, :]) * n / (n - 1)
    total = np.trace(covariance, axis1=-2, axis2=-1)
    of_things = covariance.sum((-2, -1)) / k  # mean squares
    of_raters = n * means.var(-1, ddof=1)
    of_errors = (total - of_things) / (k - 1)
    with np.errstate(divide='ignore', invalid='ignore'):
        return (of_things - of_errors) / (
            of_things + (k - 1) * of_errors + k * (of_raters - of_errors) / n
        )
