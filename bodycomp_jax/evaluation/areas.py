"""Labelled areas of slices of a scan, from a set of the segmentation network."""

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.file_names import SPLITS, images_file, slices_table
from bodycomp_jax.data.segmentation_files import open_files
from bodycomp_jax.data.slices_table import read_slices_table
from bodycomp_jax.data.table import number_in, rows_by_name
from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.spacing import MM2_PER_CM2, read_spacing
from bodycomp_jax.evaluation.units import SERIES, SPACING, about_rows

SAME_SLICE = 0.01  # mm between the positions of a slice in two tables
CHUNK_BYTES = 1 << 23


class Areas(NamedTuple):
    """Areas of the labelled slices of a series.

    Attributes:
      z: `[n]` mm.
      cm2: `[n, T]` of each of `ct.TISSUES`.
    """

    z: np.ndarray
    cm2: np.ndarray

    def at(self, z: float) -> np.ndarray:
        """`[T]` cm2 in the slice at this position; NaN if it is not labelled."""
        i = int(np.abs(self.z - z).argmin())
        if abs(self.z[i] - z) > SAME_SLICE:
            return np.full(len(ct.TISSUES), np.nan)
        return self.cm2[i]


def read_areas(data_dir: str) -> Mapping[str, Areas]:
    """{series: the areas of its slices} in all splits of a prepared set.

    Raises InputError for sets that do not say of which series, and where in it, a slice is.
    """
    files = {
        split: open_files(data_dir, split)[1]
        for split in SPLITS
        if os.path.lexists(images_file(data_dir, split))
    }
    if not files:
        raise InputError(
            f'{data_dir}: no images of any split ({", ".join(SPLITS)}); give the folder of a set '
            'of the segmentation network'
        )
    lengths = {split: len(masks) for split, masks in files.items()}
    path = slices_table(data_dir)
    about = about_rows(read_slices_table(path, lengths))
    missing = next((name for name in (SERIES, 'z', *SPACING) if name not in about[0]), None)
    if missing is not None:
        raise InputError(f'{path}: no column {missing}; prepare the set from scans')
    spacing = read_spacing(about, None)
    if spacing.length != 'mm':
        raise InputError(f'{path}: {spacing.source} Prepare the set from scans')
    z = np.array([_height(path, row['z']) for row in about])
    pixels = np.concatenate(
        [
            _count(masks.read_span(*span))
            for masks in files.values()
            for span in masks.spans(CHUNK_BYTES)
        ]
    )
    cm2 = pixels * spacing.values.prod(1)[:, None] / MM2_PER_CM2
    rows_of = rows_by_name([row[SERIES] for row in about])
    return {name: Areas(z[rows], cm2[rows]) for name, rows in rows_of.items()}


def _count(masks: np.ndarray) -> np.ndarray:
    """`[n, T]` pixels of each tissue; NaN in slices that are not labelled throughout."""
    flat = masks.reshape(len(masks), -1)
    counts = np.stack([(flat == label).sum(1) for label in range(1, 1 + len(ct.TISSUES))], axis=1)
    return np.where((flat == ct.NOT_LABELLED).any(1)[:, None], np.nan, counts)


def _height(path: str, text: str) -> float:
    mm = number_in(text)
    if not np.isfinite(mm):
        raise InputError(f'{path}: column z: {text!r} is not a number; give mm in each row')
    return mm
