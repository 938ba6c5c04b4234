"""Segmentations that open at the right place."""

import itertools

import highdicom
import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data
from highdicom.spatial import PixelToReferenceTransformer
from scan_files import HU, write_enhanced, write_slice

from bodycomp_jax import ct
from bodycomp_jax.data.masks.labels import label_map
from bodycomp_jax.data.masks.mask import open_mask
from bodycomp_jax.data.scans import find_series
from bodycomp_jax.data.scans.dicom_file import write_dicom
from bodycomp_jax.estimation.dicom_seg import segmentation
from bodycomp_jax.estimation.dicom_source import read_source

AXES = np.eye(3, dtype=int)
ORIENTATIONS = [
    (*along * a, *down * b)
    for along, down in ((AXES[0], AXES[1]), (AXES[1], AXES[0]))
    for a, b in itertools.product((1, -1), repeat=2)
]
APART = label_map(intermuscular_fat=())
TILTED = (1, 0, 0, 0, 0.98480775, 0.17364818)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'out' / 'seg.dcm')


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for name in ('in', 'out'):
        (tmp_path / name).mkdir()


def drawn(grid):
    """Labels without any symmetry, some of them of no tissue."""
    return np.random.default_rng(1).choice(
        np.array([0, 1, 2, 3, 4, 255], np.uint8), (grid.rows, grid.columns)
    )


def written(path, series, i, labels):
    """The segmentation of slice i, as highdicom reads it."""
    source = read_source(series.slices[i])
    write_dicom(path, segmentation(source, labels, level='L3', model='runs/a'))
    return highdicom.seg.segread(path)


def positions(segmentation, number):
    """Patient coordinates of the pixels of a segment, as highdicom computes them."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    for i, frame in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            transform = PixelToReferenceTransformer(
                frame.PlanePositionSequence[0].ImagePositionPatient,
                shared.PlaneOrientationSequence[0].ImageOrientationPatient,
                shared.PixelMeasuresSequence[0].PixelSpacing,
            )
            return transform(np.argwhere(segmentation.pixel_array[i])[:, ::-1])
    raise AssertionError(f'no frame of segment {number}')


@pytest.mark.parametrize('orientation', [*ORIENTATIONS, TILTED])
def test_pixels_are_where_they_are_in_the_patient(tmp_path, path, orientation):
    write_slice(tmp_path / 'in' / 'a.dcm', ImageOrientationPatient=[*map(float, orientation)])
    (series,) = find_series(tmp_path / 'in').series
    labels = drawn(series.slices[0].grid)
    found = written(path, series, 0, labels)
    for number in (1, 2, 3, 4):
        wanted = [series.slices[0].grid.point(*at) for at in np.argwhere(labels == number)]
        of_file = positions(found, number)
        np.testing.assert_allclose(sorted(map(tuple, of_file)), sorted(wanted), atol=1e-6)
    mask = open_mask(path, series, APART)
    np.testing.assert_array_equal(mask.labels(0), np.where(labels > 4, 0, labels))


def test_a_frame_of_a_multi_frame_file_is_referenced(tmp_path, path):
    write_enhanced(tmp_path / 'in' / 'a.dcm')
    (series,) = find_series(tmp_path / 'in').series
    labels = drawn(series.slices[0].grid)
    found = written(path, series, 0, labels)
    mask = open_mask(path, series, APART)
    np.testing.assert_array_equal(mask.labels(0), np.where(labels > 4, 0, labels))
    assert (mask.labels(1) == ct.NOT_LABELLED).all()
    for frame in found.PerFrameFunctionalGroupsSequence:
        reference = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == series.slices[0].sop_instance_uid
        assert reference.ReferencedFrameNumber == 2
        assert reference.ReferencedSOPClassUID.name == 'Enhanced CT Image Storage'


def test_segments_have_names_codes_and_what_made_them(tmp_path, path):
    write_slice(tmp_path / 'in' / 'a.dcm', PatientName='Anna', PatientID='7')
    (series,) = find_series(tmp_path / 'in').series
    labels = drawn(series.slices[0].grid)
    found = written(path, series, 0, labels)
    assert (found.PatientName, found.PatientID) == ('Anna', '7')
    assert found.StudyInstanceUID == '1.2.3'
    assert found.FrameOfReferenceUID == '1.2.3.5'
    assert found.SegmentationType == 'BINARY'
    codes = [
        (each.segment_label, each.segmented_property_type.value)
        for each in map(found.get_segment_description, (1, 2, 3, 4))
    ]
    assert codes == [
        ('Muscle', '127954009'),
        ('Subcutaneous fat', '67769002'),
        ('Visceral fat', '55603005'),
        ('Intermuscular fat', '55603005'),
    ]
    assert written(path, series, 0, np.where(labels == 4, 1, labels)).number_of_segments == 3
    fat = found.get_segment_description(3)
    assert fat.segmented_property_category.value == '85756007'
    assert fat.anatomic_regions[0].value == '818981001'
    assert fat.algorithm_type.value == 'AUTOMATIC'
    assert fat.algorithm_identification.family.value == '123110'
    assert 'runs/a' in fat.algorithm_identification[0].AlgorithmParameters


def test_the_same_labels_of_the_same_slice_have_the_same_identifiers(tmp_path):
    write_enhanced(tmp_path / 'in' / 'a.dcm')
    (series,) = find_series(tmp_path / 'in').series
    labels = np.ones(HU.shape, np.uint8)

    def uid(labels, model, i=0):
        source = read_source(series.slices[i])
        return segmentation(source, labels, level='L3', model=model).SOPInstanceUID

    assert uid(labels, 'a') == uid(labels.copy(), 'a')
    others = uid(2 * labels, 'a'), uid(labels, 'b'), uid(labels, 'a', i=1)
    assert len({uid(labels, 'a'), *others}) == 4


def test_labels_that_people_made_and_empty_ones_are_written(tmp_path, path, caplog):
    write_slice(tmp_path / 'in' / 'a.dcm')
    (series,) = find_series(tmp_path / 'in').series
    none = np.zeros(HU.shape, np.uint8)
    write_dicom(path, segmentation(read_source(series.slices[0]), none, level='slice', model=None))
    assert not caplog.records
    found = highdicom.seg.segread(path)
    assert found.get_segment_description(1).algorithm_type.value == 'MANUAL'
    assert not open_mask(path, series, label_map()).labels(0).any()


@needs_shared_data
@pytest.mark.parametrize(
    'scan',
    ['totalsegmentator/ct_dicom', 'dicom/jpeg2000_flipped', 'dicom/enhanced', 'l3_other_patient'],
)
def test_real_slices_are_segmented_in_place(path, scan):
    series = find_series(SHARED_DATA / scan).series[0]
    grid = series.slices[0].grid
    labels = np.zeros((grid.rows, grid.columns), np.uint8)
    labels[50:80, 100:300] = 1
    labels[200:210, 7:9] = 3
    found = written(path, series, 0, labels)
    corner = positions(found, 3).min(0)
    np.testing.assert_allclose(
        corner, np.minimum(grid.point(200, 7), grid.point(209, 8)), atol=1e-3
    )
    np.testing.assert_array_equal(open_mask(path, series, label_map()).labels(0), labels)
