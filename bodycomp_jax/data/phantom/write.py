"""Training sets of synthetic subjects, in the formats of the two trainers."""

import os
from collections.abc import Sequence

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data import segmentation, slice_selection
from bodycomp_jax.data.phantom.trunk import draw, draw_slice, heights
from bodycomp_jax.data.phantom.variety import PLAIN, Variety


def write_segmentation_set(
    data_dir: str | os.PathLike[str],
    *,
    train: int,
    val: int,
    side: int,
    seed: int = 0,
    variety: Variety = PLAIN,
) -> None:
    """Writes slices with their labels, one per subject; no subject is in both splits.

    Args:
      data_dir: an existing folder.
      train, val: subjects in each split.
      side: of a slice, in pixels.
      seed: of the first subject; the following subjects have the following seeds.
      variety: from which subjects and scanners are drawn.
    """
    for split, seeds in _splits(train, val, seed):
        segmentation.write_split(data_dir, split, (draw_slice(s, side, variety) for s in seeds))


def write_slice_selection_set(
    data_dir: str | os.PathLike[str],
    *,
    train: int,
    val: int,
    side: int,
    spacing: float,
    levels: Sequence[str] = ('L3',),
    seed: int = 0,
    variety: Variety = PLAIN,
) -> None:
    """Writes whole trunks, a series per subject; no subject is in both splits.

    Args:
      data_dir: an existing folder.
      train, val: subjects in each split.
      side: of a slice, in pixels.
      spacing: mm between slices.
      levels: a subset of `LEVELS`.
      seed: of the first subject; the following subjects have the following seeds.
      variety: from which subjects and scanners are drawn.
    """
    for split, seeds in _splits(train, val, seed):
        names: list[str] = []
        offsets: dict[str, list[float]] = {level: [] for level in levels}
        for s in seeds:
            z, middles = heights(s, spacing, variety)
            names += [f'subject_{s:06d}'] * len(z)
            for level in levels:
                offsets[level] += (z - middles[level]).tolist()
        images = (
            ct.window(hu).round().astype(np.uint8)
            for s in seeds
            for hu in draw(s, side, spacing, variety).hu
        )
        slice_selection.write_split(data_dir, split, images, offsets, names)


def _splits(train: int, val: int, seed: int) -> tuple[tuple[str, range], tuple[str, range]]:
    """The seeds of each split."""
    return ('train', range(seed, seed + train)), ('val', range(seed + train, seed + train + val))
