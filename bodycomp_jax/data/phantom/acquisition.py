"""What a scanner makes of the HU of a slice: kernel, noise, artefacts.

Lengths and frequencies are in mm and per mm: a slice of 256 x 256 looks like the means of 2 x 2
pixels of one of 512 x 512.
"""

from functools import lru_cache
from itertools import product

import numpy as np
import scipy.fft

from bodycomp_jax.data.phantom.grids import coarser, finer
from bodycomp_jax.data.phantom.projections import projection_errors
from bodycomp_jax.data.phantom.scanner import NATIVE_SIDE, Scanner

LOWEST, HIGHEST = -1024, 3071
BRIGHT_HU, FAT_HU = 60, -100  # above the one is contrast agent and bone
FLOOR = 0.05  # per mm, of the ramp in the spectrum of noise, which is not 0 at 0
WEDGE = 0.1  # streaks: the slope up to which a wave counts as one across them
BEYOND = 0.4  # noise far from the body, share of that in its middle
NEAR_MM = 60.0  # how far noise reaches out of what it comes from
RING_MM = 1.0
MAP = 32  # pixels of the side of smooth fields


def acquire(scanner: Scanner, rng: np.random.Generator, hu: np.ndarray) -> np.ndarray:
    """A slice as it comes out of a scanner.

    Args:
      scanner: with the field of view of the slice.
      rng: of this slice.
      hu: `[side, side]` float32, ideal HU.

    Returns:
      `[side, side]` float32, from -1024 to 3071 HU, `scanner.padding` outside the circle.
    """
    side = len(hu)
    transfer, spread = _spectra(scanner, side)
    white = rng.standard_normal((*spread.shape, 2), np.float32).view(np.complex64)[..., 0]
    noise = scipy.fft.irfft2(white * spread, hu.shape)
    at_voltage = _at_voltage(scanner, hu)
    acquired = scipy.fft.irfft2(
        scipy.fft.rfft2(at_voltage) * transfer * _motion(scanner, rng, side), hu.shape
    )
    acquired += noise * _noise_map(scanner, hu)
    acquired += projection_errors(scanner, rng, hu)
    if scanner.rings:
        acquired += _rings(scanner, rng, side)
    acquired = acquired.clip(LOWEST, HIGHEST)
    if scanner.padding:
        acquired[outside_circle(side)] = scanner.padding
    return acquired


def outside_circle(side: int) -> np.ndarray:
    """`[side, side]` bool: where no values are reconstructed by scanners with a padding."""
    square = (np.arange(side) - (side - 1) / 2) ** 2
    return square + square[:, None] > (side / 2) ** 2


def _at_voltage(scanner: Scanner, hu: np.ndarray) -> np.ndarray:
    """Lower voltages: brighter contrast agent and bone, darker fat."""
    low = 120 / scanner.voltage - 1
    bright = (hu - BRIGHT_HU).clip(0)
    fat = (1 - np.abs(hu - FAT_HU) / -FAT_HU).clip(0)
    return scanner.gain * (hu + 0.9 * low * bright - 45 * low * fat) + scanner.offset


@lru_cache(maxsize=4)
def _spectra(scanner: Scanner, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the kernel and of noise (its standard deviations), `[side, side // 2 + 1]`."""
    pixel, native = (scanner.field_of_view / n for n in (side, max(side, NATIVE_SIDE)))
    fy, fx = _frequencies(side, pixel)
    # Pixels of a coarser matrix are means of several, in which short waves look like long ones.
    aliases = (0,) if side >= NATIVE_SIDE else (-1 / pixel, 0, 1 / pixel)
    power = np.zeros((side, side // 2 + 1), np.float32)
    for y, x in product(aliases, repeat=2):
        passed = _passed(fy + y, pixel, native) * _passed(fx + x, pixel, native)
        power += passed * _noise_power(scanner, fy + y, fx + x)
    # As many HU as wanted within the frequencies of the native matrix, a disc of this radius.
    f = np.linspace(0, NATIVE_SIDE / scanner.field_of_view / np.pi**0.5, 200, dtype=np.float32)
    total = np.trapezoid(_ramp_power(scanner, f**2) * 2 * np.pi * f, f)
    spread = scanner.noise * side / pixel * np.sqrt(power * (0.5 / total))
    return _kernel(scanner, fx**2 + fy**2), spread


def _passed(f: np.ndarray, pixel: float, native: float) -> np.ndarray:
    """The share of the power of waves in native pixels that is left in their means."""
    share = np.sinc(f * pixel) / np.sinc(np.minimum(np.abs(f * native), 0.5))
    return np.where(np.abs(f * native) <= 0.5, share**2, 0).astype(np.float32)


def _frequencies(side: int, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Per mm: `[side, 1]` and `[1, side // 2 + 1]`."""
    fy, fx = scipy.fft.fftfreq(side, pixel), scipy.fft.rfftfreq(side, pixel)
    return fy.astype(np.float32)[:, None], fx.astype(np.float32)[None]


def _kernel(scanner: Scanner, f2: np.ndarray) -> np.ndarray:
    """The share of a wave that passes, of its squared frequency."""
    u = f2 / scanner.resolution**2
    return (1 + scanner.sharpening * u) * np.exp(-u)


def _noise_power(scanner: Scanner, fy: np.ndarray, fx: np.ndarray) -> np.ndarray:
    """The spectrum of noise, with more of the waves across horizontal streaks."""
    power = _ramp_power(scanner, fx**2 + fy**2)
    if not scanner.streaks:
        return power
    across = np.exp(-((fx / (WEDGE * np.abs(fy) + 1e-3)) ** 2))
    return power * (1 + scanner.streaks**2 * across)


def _ramp_power(scanner: Scanner, f2: np.ndarray) -> np.ndarray:
    """The ramp of filtered back-projection, after the kernel."""
    return np.sqrt(f2 + FLOOR**2) * _kernel(scanner, f2 * scanner.grain**2) ** 2


def _motion(scanner: Scanner, rng: np.random.Generator, side: int) -> np.ndarray | float:
    """Mixes a shifted copy in, in another direction in each slice."""
    direction = rng.uniform(0, 2 * np.pi)
    if not scanner.ghost:
        return 1.0
    fy, fx = _frequencies(side, scanner.field_of_view / side)
    turns = [
        np.exp(-2j * np.pi * scanner.motion * shift * f).astype(np.complex64)
        for f, shift in ((fy, np.sin(direction)), (fx, np.cos(direction)))
    ]
    return 1 - scanner.ghost + scanner.ghost * turns[0] * turns[1]


def _noise_map(scanner: Scanner, hu: np.ndarray) -> np.ndarray:
    """Noise is strongest in the middle of the body, whose mean is 1 there."""
    matter = (coarser(hu, MAP) / 1000 + 1).clip(0, 1)
    mm = np.arange(MAP) * (scanner.field_of_view / MAP)
    blur = np.exp(-(((mm[:, None] - mm) / NEAR_MM) ** 2) / 2).astype(np.float32)
    near = blur @ matter @ blur
    return finer(BEYOND + (1 - BEYOND) * near / max(float(near.max()), 1e-6), len(hu))


def _rings(scanner: Scanner, rng: np.random.Generator, side: int) -> np.ndarray:
    """Rings around the middle of the gantry, one for each detector that is off."""
    pixel = scanner.field_of_view / side
    width = np.hypot(RING_MM, pixel / 12**0.5)
    radii = rng.uniform(5, scanner.field_of_view / 2, 6)
    heights = scanner.rings * rng.uniform(-1, 1, 6) * RING_MM / width
    r = np.arange(0, scanner.field_of_view, pixel / 2)
    course = (heights * np.exp(-(((r[:, None] - radii) / width) ** 2) / 2)).sum(1)
    x, y = ((np.arange(side) + 0.5 - side / 2) * pixel + middle for middle in scanner.middle)
    return np.interp(np.hypot(x, y[:, None]), r, course).astype(np.float32)
