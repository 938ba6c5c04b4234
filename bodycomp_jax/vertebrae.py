"""Vertebral levels: what the network learns of an offset, and where in a series a level is.

The offset of a slice is its signed distance from the middle of the vertebra, in mm, positive
towards the head.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SIGMOID_RANGE = 3  # thresholds from the level; beyond, the sigmoid no longer resolves distances
SMOOTHING = 5.0  # mm, standard deviation of the Gaussian along z

Values = Sequence[float] | np.ndarray


class LevelPosition(NamedTuple):
    """Where in a series a level is.

    Attributes:
      z: mm; NaN if an offset is not finite.
      misfit: mean over z of the absolute difference between the predicted curve,
        sigmoid(offset / threshold), and that of a level at z; 0 is perfect.
      outside: whether the level lies outside the series, so that none of its slices shows it; z
        is then the slice closest to it.
    """

    z: float
    misfit: float
    outside: bool


def sigmoid(x: Values | float) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x)))


def find_level(z: Values, offsets: Values, threshold: float) -> LevelPosition:
    """Finds a level in a series.

    The curve sigmoid(offset / threshold) is smoothed along z. Candidates are the positions at
    which it rises through 1/2, also between slices, and the two ends; without such a rise also the
    slice closest to 1/2. The candidate whose ideal curve, sigmoid((z - candidate) / threshold),
    fits best is the level. Unless it is a rise, the level is outside if the smoothed curve puts it
    further from that slice than half a slice spacing.

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
    slices = [0, len(z) - 1] if rises.size else [int(np.abs(smooth).argmin()), 0, len(z) - 1]
    candidates = np.concatenate([crossings, z[slices]])
    covered = _mm_covered(z)
    misfits = [
        float(np.average(np.abs(curve - sigmoid((z - candidate) / threshold)), weights=covered))
        for candidate in candidates
    ]
    best = int(np.argmin(misfits))
    outside = False
    if best >= len(crossings):
        i = slices[best - len(crossings)]
        outside = bool(abs(smooth[i]) * threshold > covered[i] / 2)
    return LevelPosition(float(candidates[best]), misfits[best], outside)


def _mm_covered(z: np.ndarray) -> np.ndarray:
    """The mm of the series that each slice stands for: half of the gap to each neighbour.

    At an end the one gap counts twice. A slice alone stands for `SMOOTHING`.
    """
    if z[0] == z[-1]:
        return np.full(len(z), SMOOTHING)
    gaps = np.diff(z)
    return (np.append(gaps[0], gaps) + np.append(gaps, gaps[-1])) / 2


def _logit(share: np.ndarray) -> np.ndarray:
    """The inverse of `sigmoid`, within the range in which it resolves distances."""
    share = share.clip(*sigmoid([-SIGMOID_RANGE, SIGMOID_RANGE]))
    return np.log(share / (1 - share))


def _smoothed(z: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Gaussian mean of the neighbours along z.

    Beyond each end the curve continues as its mirror image through the end point, which keeps a
    straight line straight.
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
