"""Vertebral levels: what the network learns of an offset, and where in a series a level is.

The offset of a slice is its signed distance from the middle of the vertebra, in mm, positive
towards the head.
"""

from typing import NamedTuple

import numpy as np

SIGMOID_RANGE = 3  # thresholds from the level, within which the sigmoid still tells distances apart
SMOOTHING = 5.0  # mm, standard deviation of the Gaussian along z


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x)))


class LevelPosition(NamedTuple):
    """Where in a series a level is.

    Attributes:
      z: mm; NaN if an offset is not finite.
      misfit: mean absolute difference, over z, between the predicted curve and the ideal curve of
        a level at z: 0 is perfect.
      outside: whether the level lies beyond an end of the series; z is that end.
    """

    z: float
    misfit: float
    outside: bool


def find_level(z: np.ndarray, offsets: np.ndarray, threshold: float) -> LevelPosition:
    """Finds a level in a series.

    The curve sigmoid(offset / threshold) is smoothed along z. The level is where it rises through
    1/2, also between slices, or at one of the ends: the position whose ideal curve,
    sigmoid((z - position) / threshold), fits it best. Where it never rises through 1/2, the slice
    closest to 1/2 is a candidate as well.

    Args:
      z: `[N]` positions of the slices in mm, in any order, positive towards the head.
      offsets: `[N]` predicted offsets in mm.
      threshold: mm.
    """
    if not np.isfinite(offsets).all():
        return LevelPosition(float('nan'), float('nan'), outside=True)
    order = np.argsort(z)
    z = np.asarray(z, float)[order]
    curve = sigmoid(np.asarray(offsets, float)[order] / threshold)
    smooth = _logit(_smoothed(z, curve))  # a straight line through the level
    below, above = smooth[:-1], smooth[1:]
    rises = np.flatnonzero((below < 0) & (above >= 0))
    share = -below[rises] / (above[rises] - below[rises])
    crossings = z[rises] + share * (z[rises + 1] - z[rises])
    if crossings.size == 0:
        crossings = z[[np.abs(smooth).argmin()]]
    positions = np.array([*crossings, z[0], z[-1]])
    misfits = [np.abs(curve - sigmoid((z - position) / threshold)).mean() for position in positions]
    best = int(np.argmin(misfits))
    return LevelPosition(float(positions[best]), float(misfits[best]), best >= len(crossings))


def _logit(share):
    """The inverse of `sigmoid`, within the range in which it tells distances apart."""
    share = share.clip(*sigmoid([-SIGMOID_RANGE, SIGMOID_RANGE]))
    return np.log(share / (1 - share))


def _smoothed(z, curve):
    """Mean of the neighbours, weighted by their distance, and mirrored at the ends.

    Beyond the ends the curve goes on as its mirror image through the end point, so that a straight
    line stays one.
    """
    reach = 3 * SMOOTHING
    first, last = z[1:] - z[0] <= reach, z[-1] - z[:-1] <= reach

    def extended(x):
        return np.concatenate([2 * x[0] - x[1:][first], x, 2 * x[-1] - x[:-1][last]])

    around, values = np.sort(extended(z)), extended(curve)[np.argsort(extended(z))]
    starts, ends = (np.searchsorted(around, z + d) for d in (-reach, reach))
    smooth = np.empty(len(z))
    for i, near in enumerate(map(slice, starts, ends)):
        weights = np.exp(-0.5 * ((around[near] - z[i]) / SMOOTHING) ** 2)
        smooth[i] = weights @ values[near] / weights.sum()
    return smooth
