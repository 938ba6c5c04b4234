"""Smooth periodic noise, for what is uneven within a tissue."""

import functools

import numpy as np

FINE, MIDDLE, COARSE = 1.6, 4.5, 16.0  # mm
STEP, LENGTH = 0.8, 1024  # mm between the values of a tile, and their number on a side


@functools.cache
def tile(scale: float) -> np.ndarray:
    """`[LENGTH, LENGTH]` float32 of zero mean and unit variance, smooth over `scale` mm."""
    rng = np.random.default_rng(int(1000 * scale))
    frequency = np.fft.fftfreq(LENGTH, STEP)
    keep = np.exp(-2 * (np.pi * scale * frequency) ** 2)
    white = np.fft.fft2(rng.standard_normal((LENGTH, LENGTH)))
    noise = np.fft.ifft2(white * np.outer(keep, keep)).real
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def indices(mm: np.ndarray) -> np.ndarray:
    """Of the values of a tile at positions in mm."""
    return (mm / STEP).astype(np.intp) % LENGTH


def ridges(noise: np.ndarray, width: float) -> np.ndarray:
    """Winding lines where the noise crosses zero: 1 in their middle, 0 away from them."""
    return np.exp(-((noise / width) ** 2))
