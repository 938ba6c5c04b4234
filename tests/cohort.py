"""Phantoms as people have scans: DICOM series and NIfTI files."""

import csv

import nibabel
import numpy as np

from bodycomp_jax.data import phantom
from bodycomp_jax.preparation.synthetic import dicom
from bodycomp_jax.preparation.synthetic.subject import as_series

SIDE, SPACING = 64, 20.0  # pixels, mm between slices
FIELD_OF_VIEW = phantom.Scanner().field_of_view
PIXEL = FIELD_OF_VIEW / SIDE
BODY_MM = 28.0  # of a vertebra along z
TOTALSEGMENTATOR = {'L5': 27, 'L4': 28, 'L3': 29, 'L2': 30, 'L1': 31, 'T12': 32}
ORIGIN = -FIELD_OF_VIEW / 2 + PIXEL / 2  # mm, of the first row and column


def draw(seed, spacing=SPACING):
    """The phantom of a seed, at the size of these tests."""
    return phantom.draw(seed, SIDE, spacing)


def vertebra_labels(trunk, spacing=SPACING):
    """`[N, side, side]` labels of TotalSegmentator: a box for each vertebra."""
    labels = np.zeros(trunk.labels.shape, np.uint8)
    middle = slice(SIDE // 2 - 3, SIDE // 2 + 3)
    for level, number in TOTALSEGMENTATOR.items():
        inside = np.abs(trunk.z - trunk.levels[level]) < BODY_MM / 2
        labels[inside, middle, middle] = number
    return labels


def write_dicom(folder, trunk, patient):
    """Writes a series; returns its headers."""
    folder.mkdir(parents=True)
    series = as_series(trunk, [patient])
    return dicom.write_series(str(folder), series, patient)


def write_nifti(path, slices, spacing=SPACING):
    """Writes `[N, side, side]` slices, rows to the left and columns to the back, as RAS."""
    affine = np.diag([-PIXEL, -PIXEL, spacing, 1.0])
    affine[:2, 3] = -ORIGIN
    nibabel.save(nibabel.Nifti1Image(slices.transpose(2, 1, 0), affine), path)


def write_table(path, rows):
    """Writes a CSV file with a row for each dict."""
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
