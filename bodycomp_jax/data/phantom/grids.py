"""Square images on coarser and finer grids of the same field of view."""

from functools import lru_cache

import numpy as np
import scipy.sparse


def coarser(image: np.ndarray, side: int) -> np.ndarray:
    """The mean of `[n, n]` in each pixel of `[side, side]`, side <= n; borders are shared."""
    matrix = _averaging(len(image), side)
    return (matrix @ (matrix @ image).T).T


def finer(image: np.ndarray, side: int) -> np.ndarray:
    """`[n, n]` at the pixels of `[side, side]`, linear between the middles of its pixels."""
    matrix = _interpolating(len(image), side)
    return (matrix @ (matrix @ image).T).T


@lru_cache(maxsize=16)
def _averaging(side: int, coarse: int) -> scipy.sparse.csr_array:
    edges = np.arange(coarse + 1) * (side / coarse)
    begin, end = edges[:-1, None], edges[1:, None]
    pixel = np.arange(side)
    shared = np.minimum(end, pixel + 1) - np.maximum(begin, pixel)
    return scipy.sparse.csr_array((shared.clip(0) * (coarse / side)).astype(np.float32))


@lru_cache(maxsize=16)
def _interpolating(coarse: int, side: int) -> scipy.sparse.csr_array:
    at = ((np.arange(side) + 0.5) * (coarse / side) - 0.5).clip(0, coarse - 1)
    weights = (1 - np.abs(at[:, None] - np.arange(coarse))).clip(0)
    return scipy.sparse.csr_array(weights.astype(np.float32))
