"""Segments of the tissues, with their codes."""

import numpy as np
import pydicom
import pytest
from scan_files import HU, write_slice

from bodycomp_jax import ct
from bodycomp_jax.data.masks.tissue_seg import tissue_segmentation
from bodycomp_jax.metrics.tinting import COLOURS

EMPTY = (
    'PatientName', 'PatientBirthDate', 'PatientSex', 'AccessionNumber', 'StudyID', 'StudyDate',
    'StudyTime', 'ReferringPhysicianName',
)  # fmt: skip


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f'{i}.dcm' for i in range(3)]
    for i, path in enumerate(paths):
        write_slice(path, z=5.0 * i, SliceThickness=5, **dict.fromkeys(EMPTY, ''))
    return [pydicom.dcmread(path) for path in paths]


def segmented(images, labels, **options):
    return tissue_segmentation(
        images, labels, origin=['a'], description='Tissues', colours=COLOURS, **options
    )


def test_each_tissue_of_each_slice_has_a_frame(images):
    labels = np.random.default_rng(0).integers(0, 4, (3, *HU.shape), np.uint8)
    labels[1] = np.where(labels[1] == 2, 0, labels[1])
    made = segmented(images, labels)
    assert made.NumberOfFrames == 3 * len(ct.TISSUES) - 1
    codes = [s.SegmentedPropertyTypeCodeSequence[0].CodeValue for s in made.SegmentSequence]
    assert codes == ['127954009', '67769002', '55603005']
    assert {s.SegmentAlgorithmType for s in made.SegmentSequence} == {'MANUAL'}


def test_labels_of_networks_are_automatic_and_name_them(images):
    labels = np.ones((3, *HU.shape), np.uint8)
    made = segmented(images, labels, model='runs/a')
    assert {s.SegmentAlgorithmType for s in made.SegmentSequence} == {'AUTOMATIC'}
    algorithm = made.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert 'runs/a' in algorithm.AlgorithmParameters
