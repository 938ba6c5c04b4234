"""Drawn series as DICOM files: what other readers find in them."""

import highdicom
import numpy as np
import pydicom
import pytest

from bodycomp_jax.data import phantom
from bodycomp_jax.data.scans import find_series
from bodycomp_jax.preparation.synthetic import dicom
from bodycomp_jax.preparation.synthetic.subject import as_series

SIDE, SPACING, PIXEL = 32, 25.0, 1 / 3  # PIXEL has more digits than DICOM keeps


@pytest.fixture(scope='module')
def trunk():
    return phantom.draw(0, SIDE, SPACING)._replace(pixel_mm=PIXEL)


@pytest.fixture(scope='module')
def scan(trunk, tmp_path_factory):
    """(folder of the files, the headers that were returned)."""
    folder = tmp_path_factory.mktemp('scan')
    return folder, dicom.write_series(str(folder), as_series(trunk, ['a']), 'subject-1')


def test_the_files_are_read_as_they_were_drawn(trunk, scan):
    (series,) = find_series(str(scan[0])).series
    np.testing.assert_array_equal(series.z, trunk.z)
    np.testing.assert_array_equal(list(series.read(range(len(series)))), trunk.hu)
    grid = series.slices[0].grid
    assert grid.spacing == pytest.approx((PIXEL, PIXEL), rel=1e-9)
    assert grid.middle == pytest.approx((0, 0, 0), abs=1e-9)
    assert grid.normal == (0, 0, 1)


def test_the_first_file_is_at_the_head_and_says_that_nobody_was_scanned(trunk, scan):
    first = pydicom.dcmread(scan[0] / '0001.dcm')
    assert first.ImagePositionPatient[2] == trunk.z[-1]
    assert (first.InstanceNumber, first.PatientID) == (1, 'subject-1')
    assert first.SeriesDescription == 'Synthetic, no patient'
    assert 1.5 <= first.PatientSize <= 1.9
    assert first.SliceThickness == SPACING


def test_padding_below_air_is_air(trunk):
    padded = trunk._replace(hu=np.full_like(trunk.hu, -3024))
    assert (as_series(padded, ['a']).hu(0) == -1024).all()


def test_other_origins_have_other_identifiers(trunk):
    uids = [
        uid
        for origin in (['a'], ['b'])
        for series in [as_series(trunk, origin)]
        for uid in (series.uid, series.frame_of_reference, series.slices[0].sop_instance_uid)
    ]
    assert len({*uids}) == 6


def test_labels_are_segments_on_their_slices(trunk, scan, tmp_path):
    rows = [5, 6, 8]
    path = str(tmp_path / 'seg.dcm')
    dicom.write_labels(path, [scan[1][i] for i in rows], trunk.labels[rows])
    found = highdicom.seg.segread(path)
    assert [found.get_segment_description(n).segment_label for n in (1, 2, 3)] == [
        'Muscle',
        'Subcutaneous fat',
        'Visceral fat',
    ]
    sources = [scan[1][i].SOPInstanceUID for i in rows]
    pixels = found.get_pixels_by_source_instance(sources, combine_segments=True)
    np.testing.assert_array_equal(pixels, trunk.labels[rows])
    assert (trunk.labels[rows] > 0).any()
