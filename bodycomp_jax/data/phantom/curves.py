"""Curves around the body and along the spine, and the ellipsoids that organs are made of.

Along the body, `t` counts vertebrae: 0 is the middle of L5, 1 that of L4, 8 that of T9, and the
sacrum is below -0.5; each subject has its own mm from one to the next. Where there are four or six
lumbar vertebrae, 0 is the last of them and 4 is L1, so that what lies between is where it is in
others; bones go by `Cut.v`, which counts the vertebrae that there are. In a slice, lengths are mm
from the middle of the body, x to the right of the picture, y downwards (to the patient's back).
Everything is smooth along t.
"""

from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.phantom.tissue import Tissue

ANGLES = np.linspace(-np.pi, np.pi, 1025)  # 0 is the right of the picture, pi/2 the back
LEFT, FRONT, RIGHT, BACK = 0, 256, 512, 768  # their indices
FROM_FRONT = np.abs((ANGLES + 1.5 * np.pi) % (2 * np.pi) - np.pi)  # 0 front, pi back, both sides


class Ellipsoid(NamedTuple):
    """x, y, a, b in mm, t and h in vertebrae; `slant`: mm in x per vertebra."""

    x: float
    y: float
    t: float
    a: float
    b: float
    h: float
    tissue: Tissue
    turn: float = 0.0
    slant: float = 0.0
    gas: float | None = None  # y of the surface of the fluid, which gas is in front of
    mottled: float = 0.0  # HU of the bubbles in it

    def scale(self, t: float) -> float:
        """Of the half axes in the slice at t: 1 in the middle, 0 beyond the ends."""
        return max(0.0, 1 - ((t - self.t) / self.h) ** 2) ** 0.5


def profile(t: float, knots: dict[float, float]) -> float:
    """The value at t of a smoothed line through `knots`, {t: value}."""
    around = t + np.linspace(-0.4, 0.4, 5)
    return float(np.interp(around, list(knots), list(knots.values())).mean())


def around(knots: dict[float, float]) -> np.ndarray:
    """A smooth curve at `ANGLES` through {angle from the front: value}, alike on both sides."""
    values = np.interp(FROM_FRONT, list(knots), list(knots.values()))
    width = 41
    padded = np.concatenate([values[-width:-1], values, values[1:width]])
    return np.convolve(padded, np.hanning(2 * width - 1) / (width - 1), 'valid')


def smooth_minimum(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """The smaller of two curves, rounded where they are less than `width` apart."""
    share = ((b - a) / width / 2 + 0.5).clip(0, 1)  # of a
    return b + share * (a - b) - width * share * (1 - share)


def wave(rng: np.random.Generator, amplitude: float) -> np.ndarray:
    """A smooth periodic function with zero mean, at `ANGLES`."""
    k = np.arange(1, 5)[:, None]
    a, b = rng.normal(0, amplitude, (2, 4, 1)) / k
    return (a * np.cos(k * ANGLES) + b * np.sin(k * ANGLES)).sum(0)


def bump(at: float, width: float) -> np.ndarray:
    """1 at an angle from the front, on both sides, and 0 away from it."""
    return np.exp(-(((FROM_FRONT - at) / width) ** 2))
