"""Slices of DICOM files put together to series."""

import collections

import numpy as np

from bodycomp_jax.data.scans.grid import to_patient_orientation
from bodycomp_jax.data.scans.headers import Header
from bodycomp_jax.data.scans.pixels import read_hu
from bodycomp_jax.data.scans.series import COLUMNS, Series, Slice
from bodycomp_jax.data.scans.skipped import Skipped


def grouped(headers: list[Header]) -> tuple[list[Series], list[Skipped]]:
    """Series of these slices, and what is left over."""
    groups = collections.defaultdict(list)
    for header in headers:
        groups[(*header.series, header.grid.rows, header.grid.columns)].append(_slice(header))
    series = []
    for (uid, patient, *_), slices in groups.items():
        slices.sort(key=lambda each: each.grid.normal @ np.asarray(each.grid.position))
        metadata = dict.fromkeys(COLUMNS, '') | {'patient_id': patient, 'series_instance_uid': uid}
        series.append(Series(tuple(slices), uid, uid, read_hu, lambda m=metadata: m))
    return series, []


def _slice(header: Header) -> Slice:
    grid, turn = to_patient_orientation(header.grid)
    z = float(grid.middle[2])
    return Slice(
        grid,
        z,
        header.path,
        header.sop_instance_uid,
        header.frame,
        turn,
        1.0 if header.slope is None else header.slope,
        header.intercept or 0.0,
    )
