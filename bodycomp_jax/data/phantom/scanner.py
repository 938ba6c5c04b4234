"""Scanners: what differs between CT scanners and protocols, and how much."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.phantom.distributions import Choice, Range

NATIVE_SIDE = 512  # pixels of the matrix that scanners reconstruct
PIXELS_MM = (0.55, 1.0)  # of this matrix


class Box(NamedTuple):
    """What the body fills of a slice, mm to the right and downwards."""

    left: float
    front: float
    right: float
    back: float


class Scanner(NamedTuple):
    """A scanner with its protocol. The defaults: a thin slice, mild noise, no artefact."""

    field_of_view: float = 420.0  # mm, the side of a slice
    middle: tuple[float, float] = (0.0, 0.0)  # mm, of the field of view
    thickness: float = 1.0
    resolution: float = 0.5
    sharpening: float = 0.0
    noise: float = 10.0
    grain: float = 1.0
    streaks: float = 0.0
    voltage: float = 120.0
    gain: float = 1.0
    offset: float = 0.0
    cupping: float = 0.0
    hardening: float = 0.0
    metal: float = 0.0
    rings: float = 0.0
    ghost: float = 0.0
    motion: float = 0.0
    padding: float = 0.0  # 0: there are values in the corners
    matrix: float = 0.0  # 0: as many pixels as wanted


# Wider than reality, so that real scanners are inside (domain randomisation).
RANGES: dict[str, Range | Choice] = {
    'filled': Range('share of the field of view that is as wide as the body', 0.65, 0.97),
    'cut': Range('share of the body that is wider than the field of view', 0.04, 0.25, 0.1),
    'aside': Range('off centre, share of the space beside the body', -0.8, 0.8),
    'low': Range('off centre, share of the space in front of and behind the body', -0.5, 0.5),
    'thickness': Range('slice thickness, mm', 1, 8, log=True),
    'resolution': Range('where a soft kernel falls to 1/e, per mm', 0.2, 0.9, log=True),
    'sharpening': Range('sharp kernels: how far they overshoot', 0.5, 3, 0.4),
    'noise': Range('noise in the middle of the body at 512 x 512, HU', 3, 45, log=True),
    'grain': Range('how much coarser noise is than the kernel', 1, 2),
    'streaks': Range('horizontal streaks by photon starvation, multiples of the noise', 1, 5, 0.3),
    'voltage': Range('tube voltage, kV', 70, 140),
    'gain': Range('calibration, factor of HU', 0.97, 1.03),
    'offset': Range('calibration, HU', -8, 8),
    'cupping': Range('how much darker the middle of a body of 300 mm is, HU', -20, 30, 0.5),
    'hardening': Range('how dark it is between two bones of 50 mm, HU', 5, 60, 0.6),
    'metal': Range('depth of the streaks of 10 mm of metal, HU', 50, 800),
    'rings': Range('height of rings, HU', 4, 25, 0.08),
    'ghost': Range('share of a shifted copy (motion)', 0.1, 0.4, 0.15),
    'motion': Range('shift of this copy, mm', 1, 7),
    'padding': Choice('HU outside the circle', (-1024.0, -2000.0, -2048.0, -3024.0), 0.5),
    'matrix': Range(
        'pixels of a side of scans that were made coarser and finer again', 120, 352, 0.25
    ),
}

DrawScanner = Callable[[np.random.Generator, Box], Scanner]


def plain_scanner(rng: np.random.Generator, body: Box) -> Scanner:
    """The same scanner for each subject, for quick tests and demos."""
    return Scanner()


def any_scanner(rng: np.random.Generator, body: Box) -> Scanner:
    """A scanner from `RANGES`, with a field of view for a body."""
    drawn = {name: values.draw(rng) for name, values in RANGES.items()}
    filled, cut, aside, low = (drawn.pop(name) for name in ('filled', 'cut', 'aside', 'low'))
    width, depth = body.right - body.left, body.back - body.front
    wanted = width * (1 - cut) if cut else width / filled
    low_mm, high_mm = (mm * NATIVE_SIDE for mm in PIXELS_MM)
    side = min(max(wanted, low_mm), high_mm)
    x = (body.left + body.right) / 2 + aside * abs(side - width) / 2
    y = (body.front + body.back) / 2 + low * abs(side - depth) / 2
    return Scanner(field_of_view=side, middle=(x, y), **drawn)
