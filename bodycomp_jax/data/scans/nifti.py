"""Series in NIfTI files."""

import os

import nibabel
import numpy as np

from bodycomp_jax.data.scans.grid import Grid, to_patient_orientation
from bodycomp_jax.data.scans.series import COLUMNS, Series, Slice
from bodycomp_jax.errors import InputError


def is_nifti_name(path: str) -> bool:
    """Whether a file is named as a NIfTI file."""
    return path.lower().endswith(('.nii', '.nii.gz'))


def open_series(path: str) -> Series:
    """The slices of a NIfTI file. Raises InputError if it holds no CT."""
    try:
        image = nibabel.load(path)
    except Exception as error:
        raise InputError(f'{path}: not a readable NIfTI file ({error})') from error
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    axes = [int(axis) for axis in nibabel.io_orientation(affine)[:, 0]]
    through = axes.index(2)
    rows, columns = [axis for axis in range(3) if axis != through]
    steps = affine[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)

    def read(of: Slice) -> np.ndarray:
        index = [slice(None)] * 3
        index[through] = of.frame
        return np.maximum(np.rint(image.dataobj[tuple(index)]), -1024).astype(np.int16)

    slices = []
    for k in range(image.shape[through]):
        stored = Grid(
            image.shape[rows],
            image.shape[columns],
            (float(lengths[rows]), float(lengths[columns])),
            tuple(map(float, affine[:3, 3] + k * steps[:, through])),
            tuple(map(float, steps[:, columns] / lengths[columns])),
            tuple(map(float, steps[:, rows] / lengths[rows])),
        )
        grid, turn = to_patient_orientation(stored)
        slices.append(Slice(grid, float(grid.middle[2]), path, '', k, turn, 1.0, 0.0))
    slices.sort(key=lambda each: each.z)
    return Series(
        tuple(slices), '', os.path.basename(path), read, lambda: dict.fromkeys(COLUMNS, '')
    )
