"""Vertebral levels: the curve that the network learns, and the positions of levels in a series.

The offset of a slice is its signed distance from the middle of the vertebra, or from another of its
points (`REFERENCES`), in mm, positive towards the head.
"""

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

REGIONS = 'CTLS'  # of the spine, from the head down
REFERENCES = ('middle', 'inferior')  # points of a vertebra: its middle, the end of its body
SIGMOID_RANGE = 3  # thresholds from the level within which the sigmoid resolves distances
SMOOTHING = 5.0  # mm, standard deviation of the Gaussian along z
REACH = 3 * SMOOTHING  # mm, within which slices smooth each other
SPREAD_MM = 5.0  # between the slices that place a spine, about
COARSELY = slice(None, None, 3)  # of these, the slices that place it first
SPINE = [f'T{i}' for i in range(1, 13)] + [f'L{i}' for i in range(1, 6)]  # from the head down
MIN_LEVELS = 3  # of a spine
MAX_TO_SLICE = 10.0  # mm from a level to the slice that shows it: within the vertebra
HEIGHT_LIMITS = (18.0, 45.0)  # mm, of a vertebra with its disc
# mm, of adults: that of T1, and by how much each next is higher; 20 to 28 from T2 to T9, where the
# backs of bodies have 18 to 20 (O. A. Egwu et al., Journal of the Anatomical Society of India,
# 2019) and discs 3 to 5 (J. G. R. Fletcher et al., European Spine Journal, 2015).
T1_HEIGHT, MORE_BELOW = 19.0, 1.1
HEIGHT_SPREAD = 3.0  # mm, about the standard deviation between adults
PULL = 0.45  # towards the height of adults, in misfits that such a difference in height makes
TAPER_LIMITS = (0.0, 2.5)  # mm, by which each vertebra is higher than the one above it
SPINE_STEPS = np.array([3.0, 3.0, 1.0])  # mm, of the place, the height and the taper


class LevelPosition(NamedTuple):
    """The position of a level in a series."""

    z: float  # mm; NaN if an offset is not finite
    misfit: float  # 0..1, mean absolute difference between predicted and ideal curve
    outside: bool  # whether the level lies beyond an end of the series


def why_not_shown(level: str, z: float, nearest_z: float) -> str | None:
    """Why the slice nearest to a level does not show it; None if it does. Positions in mm."""
    if abs(nearest_z - z) <= MAX_TO_SLICE:
        return None
    return (
        f'{level} is at {z:.1f} mm, but the nearest slice at {nearest_z:.1f} mm, more than '
        f'{MAX_TO_SLICE:g} mm away'
    )


def from_head(levels: Iterable[str]) -> list[str]:
    """Those levels that are named like L3, from the head down."""
    return sorted(
        (level for level in levels if re.fullmatch(rf'[{REGIONS}]\d{{1,2}}', level)),
        key=lambda level: (REGIONS.index(level[0]), int(level[1:])),
    )


def sigmoid(x: ArrayLike) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x)))


def find_levels(
    z: ArrayLike, offsets: np.ndarray, levels: Sequence[str], threshold: float
) -> dict[str, LevelPosition]:
    """The positions of levels in a series: those of a spine as `fit_spine`, others as `find_level`.

    A spine is placed by slices about `SPREAD_MM` apart.

    Args:
      z: `[N]` positions of the slices in mm, in any order, positive towards the head.
      offsets: `[N, L]` predicted offsets in mm.
      levels: the names of the L levels.
      threshold: mm.
    """
    z = np.asarray(z, float)
    order = np.argsort(z, kind='stable')
    some = order[spread(z[order], SPREAD_MM)]
    spine = fit_spine(z[some], offsets[some], levels, threshold)
    return {
        level: spine[level] if level in spine else find_level(z, offsets[:, i], threshold)
        for i, level in enumerate(levels)
    }


def are_spine(levels: Iterable[str]) -> bool:
    """Whether there are enough levels from T1 to L5 to place them together."""
    return sum(level in SPINE for level in levels) >= MIN_LEVELS


def spread(z: np.ndarray, gap: float) -> np.ndarray:
    """`[N]` booleans of slices about `gap` mm apart, with both ends; z is sorted."""
    chosen = np.zeros(len(z), bool)
    chosen[[0, -1]] = True
    last = z[0]
    for i, (mm, following) in enumerate(itertools.pairwise(z)):
        if following - last > gap:
            chosen[i], last = True, mm
    return chosen


def fit_spine(
    z: np.ndarray, offsets: np.ndarray, levels: Sequence[str], threshold: float
) -> dict[str, LevelPosition]:
    """Where the levels are if the vertebrae follow each other as in a spine.

    A slice may tell little about which of two vertebrae it shows, and much about others. So the
    levels are placed together: each vertebra with its disc is as high as the one above it, or a
    little higher, and the sum of the misfits of all levels (see `find_level`) is small. What the
    slices leave open, as those of a short scan do, are vertebrae as high as those of adults.

    Args: as of `find_levels`.

    Returns:
      {level of the spine: its position; outside the series, the nearer end}; empty if the levels
      are too few, or if an offset is not finite.
    """
    from scipy.optimize import minimize  # here: half a second, which every program would pay

    if not are_spine(levels) or not np.isfinite(offsets).all():
        return {}
    columns = [i for i, level in enumerate(levels) if level in SPINE]
    order = np.argsort(z, kind='stable')
    z, mm = z[order], _extents(z[order])
    curves = sigmoid(offsets[order][:, columns] / threshold)
    above = np.array([-SPINE.index(levels[i]) for i in columns], float)
    adult = T1_HEIGHT - MORE_BELOW * above.mean()
    above -= above.mean()  # vertebrae above the middle one
    bend = above**2 - np.mean(above**2)  # the taper leaves the mean of the places as it is

    def places(spines: np.ndarray) -> np.ndarray:
        middle, height, taper = spines.T[..., None]
        return middle + height * above - taper / 2 * bend

    def misfits(spines: np.ndarray, slices: slice = slice(None)) -> np.ndarray:
        ideal = sigmoid((z[slices, None] - places(spines)[:, None]) / threshold)
        represented = mm[slices] * (mm.sum() / mm[slices].sum())
        return np.abs(curves[slices] - ideal).sum(2) @ represented + unlikely(spines[:, 1])

    def unlikely(heights: np.ndarray) -> np.ndarray:
        # Less than a clear curve outweighs: a child's vertebrae are found as well.
        spreads = (heights - adult) / HEIGHT_SPREAD
        return PULL * np.abs(above).sum() * HEIGHT_SPREAD * (np.hypot(1, spreads) - 1)

    reach = HEIGHT_LIMITS[1] * above.max()
    limits = np.array([(z[0] - reach, z[-1] + reach), HEIGHT_LIMITS, TAPER_LIMITS])
    low, high = limits.T
    near = _best_on_grid(functools.partial(misfits, slices=COARSELY), low, high, SPINE_STEPS)
    least, most = np.clip([near - 2 * SPINE_STEPS, near + 2 * SPINE_STEPS], low, high)
    near = _best_on_grid(misfits, least, most, SPINE_STEPS / 3)  # the misfit has ridges
    best = minimize(lambda spine: misfits(spine[None]), near, method='Powell', bounds=limits).x
    return {
        levels[i]: _at(float(place), z, curve, mm, threshold)
        for i, place, curve in zip(columns, places(best[None])[0], curves.T, strict=True)
    }


def _best_on_grid(
    misfits: Callable[[np.ndarray], np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    steps: np.ndarray,
) -> np.ndarray:
    """The point with the least misfit between two corners."""
    axes = [np.arange(*of_axis) for of_axis in zip(low, high + steps / 2, steps, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing='ij'), -1).reshape(-1, len(axes))
    return np.clip(points[misfits(points).argmin()], low, high)


def find_level(z: ArrayLike, offsets: ArrayLike, threshold: float) -> LevelPosition:
    """The position of a level in a series, by the offsets from it alone.

    The predicted curve is sigmoid(offset / threshold). Candidates are the points between slices
    where the curve, smoothed along z, rises through 1/2; if it does so nowhere, the slice closest
    to 1/2; and both ends. The position is the candidate with the smallest misfit between the
    predicted curve and the ideal curve sigmoid((z - candidate) / threshold). The misfit is a mean
    over mm, not over slices, whose spacing may vary.

    The level is inside the series if the curve is at most 1/2 somewhere at or below the position,
    and at least 1/2 somewhere at or above it, give or take half a slice: then a slice shows the
    level. If the position is an end, the offset of the slice there decides. A level outside is put
    at an end, or at the slice closest to 1/2 if that fits better.

    Args:
      z: `[N]` positions of the slices in mm, in any order, positive towards the head.
      offsets: `[N]` predicted offsets in mm.
      threshold: mm.

    Returns:
      The position; NaN and outside if an offset is not finite.
    """
    if not np.isfinite(offsets).all():
        return LevelPosition(math.nan, math.nan, True)
    order = np.argsort(z)
    z = np.asarray(z, float)[order]
    mm = _extents(z)
    curve = sigmoid(np.asarray(offsets, float)[order] / threshold)
    smooth = _logit(_smoothed(z, curve, mm))  # a straight line through the level
    candidates = np.array([*_crossings(z, smooth), z[0], z[-1]])
    misfits = np.array([
        np.average(np.abs(curve - sigmoid((z - candidate) / threshold)), weights=mm)
        for candidate in candidates
    ])  # fmt: skip
    best = np.argmin(misfits)
    smooth[[0, -1]] = _logit(curve[[0, -1]])  # as predicted: smoothing shifts the ends a little
    below, above = smooth[z <= candidates[best]], smooth[z >= candidates[best]]
    half_slice = mm[np.abs(z - candidates[best]).argmin()] / 2 / threshold
    outside = below.min() > half_slice or above.max() < -half_slice
    return LevelPosition(float(candidates[best]), float(misfits[best]), bool(outside))


def _at(
    place: float, z: np.ndarray, curve: np.ndarray, mm: np.ndarray, threshold: float
) -> LevelPosition:
    """The level at a place, or at the end of the series that is before it."""
    inside = float(np.clip(place, z[0], z[-1]))
    misfit = np.average(np.abs(curve - sigmoid((z - inside) / threshold)), weights=mm)
    outside = not z[0] - mm[0] / 2 <= place <= z[-1] + mm[-1] / 2
    return LevelPosition(inside, float(misfit), outside)


def _crossings(z: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """Positions where the curve rises through 0; if there is none, of the slice closest to 0."""
    below, above = smooth[:-1], smooth[1:]
    rises = np.flatnonzero((below < 0) & (above >= 0))
    if rises.size == 0:
        return z[[np.abs(smooth).argmin()]]
    share = -below[rises] / (above[rises] - below[rises])
    crossings = z[rises] + share * (z[rises + 1] - z[rises])
    return np.minimum(crossings, z[rises + 1])  # rounding may exceed it


def _extents(z: np.ndarray) -> np.ndarray:
    """The mm that each slice represents: half the gap to each neighbour, mirrored at the ends.

    Slices at the same position share its extent equally; a single position has `SMOOTHING`.
    """
    positions, index, counts = np.unique(z, return_inverse=True, return_counts=True)
    if len(positions) == 1:
        return np.full(len(z), SMOOTHING / len(z))
    gaps = np.pad(np.diff(positions), 1, mode='edge')
    return ((gaps[:-1] + gaps[1:]) / 2 / counts)[index]


def _logit(share: np.ndarray) -> np.ndarray:
    """The inverse of `sigmoid`, clipped to the range in which it resolves distances."""
    share = share.clip(*sigmoid([-SIGMOID_RANGE, SIGMOID_RANGE]))
    return np.log(share / (1 - share))


def _smoothed(z: np.ndarray, curve: np.ndarray, mm: np.ndarray) -> np.ndarray:
    """Gaussian mean over the mm around each slice.

    Beyond the ends the curve continues as its point reflection through the end, which keeps a
    straight line straight.
    """
    first, last = z[1:] - z[0] <= REACH, z[-1] - z[:-1] <= REACH

    def extended(x):
        return np.concatenate([2 * x[0] - x[1:][first], x, 2 * x[-1] - x[:-1][last]])

    order = np.argsort(extended(z))
    around, values = extended(z)[order], extended(curve)[order]
    extents = np.concatenate([mm[1:][first], mm, mm[:-1][last]])[order]
    starts, ends = (np.searchsorted(around, z + d) for d in (-REACH, REACH))
    smooth = np.empty(len(z))
    for i, near in enumerate(map(slice, starts, ends)):
        weights = np.exp(-0.5 * ((around[near] - z[i]) / SMOOTHING) ** 2) * extents[near]
        smooth[i] = weights @ values[near] / weights.sum()
    return smooth
