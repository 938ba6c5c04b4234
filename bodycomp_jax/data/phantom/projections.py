"""Errors of projections: cupping, beam hardening between bones, streaks from metal.

The beam gets harder on its way, so that long ways through matter seem shorter than they are. What
this does to a slice is the reconstruction of what is missing in its projections.
"""

from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.sparse

from bodycomp_jax.data.phantom.grids import coarser, finer
from bodycomp_jax.data.phantom.scanner import Scanner

GRID = 96  # pixels of a side, bins of a projection and projections in half a turn
AIR_HU, BONE_HU, METAL_HU = -1000, 150, 2000  # where matter, bone and metal begin
CUPPING, HARDENING, METAL = 0.055, 0.65, 4.65  # so that errors have the HU of `RANGES`
STARVED = 0.5  # noise of a projection through metal, share of its error


def projection_errors(
    scanner: Scanner, rng: np.random.Generator, hu: np.ndarray
) -> np.ndarray | float:
    """HU to add to a slice of `[side, side]` HU; their mean in the body is 0."""
    metal = hu > METAL_HU
    has_metal = bool(scanner.metal) and bool(metal.any())
    if not (scanner.cupping or scanner.hardening or has_metal):
        return 0.0
    cm = scanner.field_of_view / GRID / 10
    coarse = coarser(hu, GRID)
    body = (coarse - AIR_HU).clip(0, 1000) / 1000
    missing = CUPPING * scanner.cupping * (_project(body) * cm) ** 2
    if scanner.hardening:
        bone = (coarse - BONE_HU).clip(0, 1000) / 1000
        missing += HARDENING * scanner.hardening * (_project(bone) * cm) ** 2
    if has_metal:
        path = _project(coarser(metal.astype(np.float32), GRID)) * cm
        noise = 1 + STARVED * rng.standard_normal(path.shape, np.float32)
        missing += METAL * scanner.metal * noise * path**2 / (1 + path)
    error = -_reconstruct(missing) / cm
    return finer(error - (error * body).sum() / max(float(body.sum()), 1.0), len(hu))


def _project(image: np.ndarray) -> np.ndarray:
    """Sums along the rays of `[GRID, GRID]`, in pixels: `[angles, bins]`."""
    return (_rays() @ image.ravel()).reshape(GRID, GRID)


def _reconstruct(projections: np.ndarray) -> np.ndarray:
    """The image of `[angles, bins]`, by filtered back-projection."""
    padded = 2 * GRID
    spectrum = scipy.fft.rfft(projections.astype(np.float32), padded)
    filtered = scipy.fft.irfft(spectrum * _ramp(padded), padded)[:, :GRID]
    return (_rays().T @ filtered.ravel()).reshape(GRID, GRID) * (np.pi / GRID)


@lru_cache(maxsize=1)
def _ramp(n: int) -> np.ndarray:
    """The ramp filter with Hann's window, sampled in space so that its mean is right."""
    bins = np.minimum(np.arange(n), n - np.arange(n))
    kernel = np.where(bins % 2, -1 / (np.pi * np.maximum(bins, 1)) ** 2, 0)
    kernel[0] = 0.25
    window = (1 + np.cos(2 * np.pi * scipy.fft.rfftfreq(n))) / 2
    return (scipy.fft.rfft(kernel).real * window).astype(np.float32)


@lru_cache(maxsize=1)
def _rays() -> scipy.sparse.csr_array:
    """Which pixel is on which ray: `[angles * bins, pixels]`, linear between two rays."""
    angle = np.arange(GRID)[:, None] * (np.pi / GRID)
    middle = (GRID - 1) / 2
    y, x = (axis.ravel() - middle for axis in np.indices((GRID, GRID)))
    at = x * np.cos(angle) + y * np.sin(angle) + middle
    first = np.floor(at).astype(np.int32)
    entries = []
    for bin, weight in ((first, 1 - (at - first)), (first + 1, at - first)):
        inside = (bin >= 0) & (bin < GRID)
        ray = bin + np.arange(GRID, dtype=np.int32)[:, None] * GRID
        pixel = np.broadcast_to(np.arange(GRID**2, dtype=np.int32), ray.shape)
        entries.append((weight[inside], ray[inside], pixel[inside]))
    weights, rays, pixels = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    shape = (GRID**2, GRID**2)
    return scipy.sparse.csr_array((weights.astype(np.float32), (rays, pixels)), shape=shape)
