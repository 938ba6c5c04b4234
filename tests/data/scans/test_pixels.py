import numpy as np
import pydicom
import pytest
from helpers import SHARED_DATA, needs_shared_data
from pydicom.pixels import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from scan_files import HU, replace_bytes, write_enhanced, write_slice

from bodycomp_jax.data.scans import find_series
from bodycomp_jax.errors import InputError

LOSSLESS = (
    'BigEndianExplicit', 'DeflatedExplicitVRLittleEndian', 'ImplicitVRLittleEndian',
    'JPEG2000LosslessOnly', 'JPEGLSLossless', 'JPEGProcess14', 'JPEGProcess14SV1', 'RLELossless',
)  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'slice.dcm'


def hu_of(path, i=0):
    (series,) = find_series(path).series
    return series.hu(i)


@needs_shared_data
@pytest.mark.parametrize(
    ('name', 'tolerance'),
    [*((name, 0) for name in LOSSLESS), ('JPEGLSLossy', 1), ('JPEG2000', 5)],
)
def test_all_transfer_syntaxes_give_one_picture(name, tolerance):
    folder = SHARED_DATA / 'dicom/transfer_syntaxes'
    stored = pydicom.dcmread(folder / 'ImplicitVRLittleEndian.dcm').pixel_array
    expected = np.maximum(stored.astype(int) - 1024, -1024)
    difference = np.abs(hu_of(folder / f'{name}.dcm') - expected)
    assert difference.max() <= tolerance


@needs_shared_data
def test_frames_equal_the_single_slices_that_they_come_from():
    (frames,) = find_series(SHARED_DATA / 'dicom/enhanced').series
    (slices,) = find_series(SHARED_DATA / 'dicom/implicit_vr').series
    assert frames.z.tolist() == slices.z.tolist()
    for i in range(3):
        np.testing.assert_array_equal(frames.hu(i), slices.hu(i))


@needs_shared_data
def test_rows_from_back_to_front_are_turned():
    path = SHARED_DATA / 'dicom/jpeg2000_flipped/explicit_VR-UN.dcm'
    (series,) = find_series(path).series
    stored = pixel_array(path)
    np.testing.assert_array_equal(series.hu(0), np.maximum(stored[::-1], -1024))
    assert series.slices[0].grid.position == pytest.approx((0, -511 * 0.859375, -121))


@needs_shared_data
@pytest.mark.parametrize(
    ('name', 'padding'),
    [
        ('dicom/odd_objects/axial_lower_chest_j2k_pad.dcm', -2048),
        ('dicom/odd_objects/lumbar_tilt_small_fov.dcm', -2000),  # the header says 63536
        ('dicom/implicit_vr/01.dcm', -2000),
        ('l3_other_patient/slice.dcm', 0),  # the header does not say so
    ],
)
def test_outside_the_circle_is_air(name, padding):
    stored = pixel_array(SHARED_DATA / name)
    outside = stored == padding
    assert 0.1 < outside.mean() < 0.3
    assert set(hu_of(SHARED_DATA / name)[outside]) == {-1024}


@pytest.mark.parametrize(
    'syntax',
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless],
)
def test_hu_are_those_that_were_written(path, syntax):
    write_slice(path)
    dataset = pydicom.dcmread(path)
    if syntax == RLELossless:
        dataset.compress(syntax)
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    np.testing.assert_array_equal(hu_of(path), HU)


def test_big_endian_pixels_are_read(path):
    write_slice(path, syntax=ExplicitVRBigEndian, PixelData=(HU + 24).astype('>i2').tobytes())
    np.testing.assert_array_equal(hu_of(path), HU)


def test_bits_above_those_that_are_stored_are_not_pixels(path):
    stored = (HU + 1024).astype(np.uint16) | 0x8000  # as old scanners store overlays
    bits = {'BitsStored': 12, 'HighBit': 11, 'PixelRepresentation': 0}
    write_slice(path, PixelData=stored.tobytes(), RescaleIntercept=-1024, **bits)
    np.testing.assert_array_equal(hu_of(path), HU)


@pytest.mark.parametrize('syntax', [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_pixels_without_a_preamble_are_read(path, syntax):
    write_slice(path, syntax=syntax, bare=True)
    np.testing.assert_array_equal(hu_of(path), HU)


def test_frames_are_read_in_any_order(path):
    write_enhanced(path)
    (series,) = find_series(path).series
    assert series.z.tolist() == sorted(series.z)
    assert [set(series.hu(i).ravel()) for i in (1, 0, 1)] == [{0}, {10}, {0}]


def test_deflated_frames_are_read(path):
    write_enhanced(path)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset)
    (series,) = find_series(path).series
    assert [set(series.hu(i).ravel()) for i in (1, 0, 1)] == [{0}, {10}, {0}]


@pytest.mark.parametrize(('first', 'last'), [(-2000, -1990), (-1990, -2000)])
def test_a_range_of_padding_is_air(path, first, last):
    stored = np.full((6, 8), 100, np.int16)
    stored[0] = range(-2002, -1994)
    write_slice(
        path,
        PixelData=stored.tobytes(),
        PixelPaddingValue=first,
        PixelPaddingRangeLimit=last,
        RescaleSlope=-1,
    )
    assert hu_of(path)[0].tolist() == [1978, 1977] + [-1024] * 6


@pytest.mark.parametrize(('dtype', 'padding'), [
    (np.int16, -2000), (np.uint16, 63536), (np.int32, -2000), (np.uint32, 63536),
])  # fmt: skip
def test_padding_has_the_sign_of_the_pixels_whatever_their_size(path, dtype, padding):
    stored = np.full((6, 8), 100, dtype)
    stored[0, 0] = padding
    bits = stored.itemsize * 8
    write_slice(
        path,
        PixelData=stored.tobytes(),
        PixelPaddingValue=padding,
        PixelRepresentation=int(np.issubdtype(dtype, np.signedinteger)),
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        RescaleIntercept=0,
    )
    expected = np.full((6, 8), 100)
    expected[0, 0] = -1024
    np.testing.assert_array_equal(hu_of(path), expected)


def test_the_error_for_a_damaged_picture_names_the_file(path):
    write_slice(path)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    pydicom.dcmwrite(path, dataset)
    content = path.read_bytes()
    path.write_bytes(content[:-60])
    with pytest.raises(InputError, match=r'slice\.dcm: pixels that cannot be decoded'):
        hu_of(path)


@needs_shared_data
@pytest.mark.parametrize(('name', 'mark'), [
    ('JPEGLSLossless', b'\xff\xf7\x00\x0b\x10'), ('JPEGProcess14SV1', b'\xff\xc3\x00\x0b\x10'),
])  # fmt: skip
def test_pictures_that_claim_another_size_are_not_decoded(path, name, mark):
    source = SHARED_DATA / f'dicom/transfer_syntaxes/{name}.dcm'
    path.write_bytes(source.read_bytes())
    replace_bytes(path, mark + b'\x02\x00\x02\x00', mark + b'\xff\xff\xff\xff')
    with pytest.raises(InputError, match='another size than Rows x Columns'):
        hu_of(path)


@needs_shared_data
@pytest.mark.parametrize('name', ['JPEG2000LosslessOnly', 'JPEGLSLossless', 'JPEGProcess14SV1'])
def test_truncated_pictures_are_not_filled_up(path, name):
    content = (SHARED_DATA / f'dicom/transfer_syntaxes/{name}.dcm').read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError, match=r'cannot be decoded .*truncated picture'):
        hu_of(path)


def test_pixels_in_another_element_are_refused(path):
    write_slice(path, PixelData=None, FloatPixelData=bytes(192))
    with pytest.raises(InputError, match=r'no PixelData \(7FE0,0010\)'):
        hu_of(path)
