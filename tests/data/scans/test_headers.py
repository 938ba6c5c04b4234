import pydicom
import pytest
from helpers import SHARED_DATA, needs_shared_data
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from scan_files import AXIAL, item, replace_bytes, write_enhanced, write_slice

from bodycomp_jax.data.scans import dicom_file
from bodycomp_jax.data.scans.headers import read_headers
from bodycomp_jax.errors import InputError


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'slice.dcm'


def header(path):
    (found,), skipped = read_headers(str(path))
    assert skipped == []
    return found


def test_the_header_says_where_the_slice_is_and_what_its_numbers_mean(path):
    write_slice(path, z=12.5, AcquisitionNumber=3, AcquisitionTime='101500', InstanceNumber=7)
    found = header(path)
    assert found.path == str(path)
    assert (found.grid.rows, found.grid.columns) == (6, 8)
    assert found.grid.spacing == (0.75, 0.5)
    assert found.grid.position == (-10, -20, 12.5)
    assert (found.series_uid, found.sop_instance_uid) == ('1.2.3.4', '1.2.3.4.12500')
    assert found.common == ('P1', '1.2.3.5', '1.2.3')
    assert (found.acquisition, found.time, found.instance) == ('3', '101500', '7')
    assert (found.slope, found.intercept, found.doubt) == (1, -24, '')


@pytest.mark.parametrize('sop_class', [CTImageStorage, '', None])
def test_a_ct_image_is_known_by_its_class_or_its_modality(path, sop_class):
    write_slice(path, SOPClassUID=sop_class)
    assert header(path).grid.rows == 6


@pytest.mark.parametrize(
    ('elements', 'message'),
    [
        ({'SOPClassUID': MRImageStorage}, "not a CT image, but 'MR Image Storage'"),
        ({'SOPClassUID': SegmentationStorage}, "but 'Segmentation Storage'"),
        ({'SOPClassUID': SecondaryCaptureImageStorage}, "but 'Secondary Capture Image Storage'"),
        ({'Modality': 'PT'}, r"Modality \(0008,0060\) is 'PT'"),
        ({'BitsAllocated': 8}, 'a picture of 8 bits'),
        ({'SamplesPerPixel': 3}, '3 colours a pixel'),
        ({'NumberOfFrames': 2}, 'NumberOfFrames .* is .2. in a file for one slice'),
        ({'ImagePositionPatient': None}, r'ImagePositionPatient \(0020,0032\) is missing'),
        ({'ImageOrientationPatient': None}, r'ImageOrientationPatient \(0020,0037\) is missing'),
        ({'PixelSpacing': None}, r'PixelSpacing \(0028,0030\) is missing'),
        ({'ImageOrientationPatient': [1, 0, 0, 0, 0, -1]}, 'not axial: 90 degrees'),
        ({'Rows': None}, '0 x 8 pixels'),
        ({'PixelData': None}, 'no pixels: the file ends with its header'),
        ({'Rows': 600, 'Columns': 800}, r'truncated: .* bytes, but its pixels need 960,000'),
        ({'RescaleSlope': 0}, 'RescaleSlope .* is 0'),
        ({'RescaleType': 'MGML'}, r"no HU: RescaleType \(0028,1054\) is 'MGML'"),
        ({'ImageType': ['ORIGINAL', 'PRIMARY', 'LOCALIZER']}, 'no HU: ImageType .*LOCALIZER'),
        ({'ImageType': ['DERIVED', 'SECONDARY', 'MIP']}, 'no HU: ImageType'),
        ({'ImageType': ['DERIVED', 'PRIMARY', 'GSI MD']}, 'no HU: ImageType'),
        ({'ImageType': ['DERIVED', 'PRIMARY', 'CT_SOM5 MIP']}, 'no HU: ImageType'),
        ({'ImageType': ['DERIVED', 'PRIMARY', 'AXIAL', 'MAT_SPECIFIC']}, 'no HU: ImageType'),
        ({'ImageType': ['DERIVED', 'PRIMARY', 'AXIAL', 'EFF_ATOMIC_NUM']}, 'no HU: ImageType'),
        ({'HighBit': 11}, r'HighBit .* is 11 and BitsStored .* 16; expected 15'),
        ({'BitsStored': 12}, r'HighBit .* is 15 and BitsStored .* 12; expected 11'),
    ],
)
def test_other_images_are_refused(path, elements, message):
    write_slice(path, **elements)
    with pytest.raises(InputError, match=message):
        read_headers(str(path))


@pytest.mark.parametrize(
    'elements',
    [
        {'ImageType': ['DERIVED', 'PRIMARY', 'AXIAL']},
        {'ImageType': ['DERIVED', 'SECONDARY', 'REFORMATTED', 'AVERAGE'], 'RescaleType': 'HU'},
        {'ImageType': None},
        {'RescaleType': 'HU_MOD', 'ImageType': ['DERIVED', 'SECONDARY', 'MAT_REMOVED']},
        {'BitsStored': 12, 'HighBit': 11, 'PixelRepresentation': 0},
        {'HighBit': None},
    ],
)
def test_images_that_are_derived_but_in_hu_are_taken(path, elements):
    write_slice(path, **elements)
    assert (header(path).slope, header(path).doubt) == (1, '')


def test_missing_numbers_and_times_are_empty(path):
    write_slice(path)
    found = header(path)
    assert (found.acquisition, found.time, found.instance) == ('', '', '')


def test_missing_rescaling_is_kept_apart_from_1_and_0(path):
    write_slice(path, RescaleSlope=None, RescaleIntercept=None)
    assert (header(path).slope, header(path).intercept) == (None, None)


@pytest.mark.parametrize(
    ('elements', 'doubt'),
    [
        ({'RescaleSlope': None}, 'RescaleSlope or RescaleIntercept is missing'),
        ({'RescaleType': 'US'}, r"RescaleType (0028,1054) is 'US'"),
        ({'RescaleType': 'unspecified'}, "is 'UNSPECIFIED'"),
        ({'RescaleType': 'Hounsfield'}, "is 'HOUNSFIELD'"),
        ({'ImageType': ['DERIVED', 'SECONDARY', 'AXIAL']}, 'RescaleType is missing'),
    ],
)
def test_values_that_need_not_be_hu_are_taken_with_a_doubt(path, elements, doubt):
    write_slice(path, **elements)
    assert doubt in header(path).doubt


def test_the_error_for_a_decimal_comma_names_the_tag(path):
    write_slice(path)
    replace_bytes(path, b'0.75\\0.5', b'0,75\\0,5')
    with pytest.raises(InputError, match=r"PixelSpacing \(0028,0030\) is '0,75"):
        read_headers(str(path))


def test_numbers_in_the_format_of_other_languages_are_read(path):
    write_slice(path, RescaleIntercept='-1024.00')
    replace_bytes(path, b'-1024.00', b'-1.02E+3')
    assert header(path).intercept == -1020


def test_compression_without_a_decoder_is_refused(path):
    write_slice(path, syntax=HTJ2KLossless, PixelData=encapsulate([b'picture.']))
    with pytest.raises(InputError, match=r"as 'High-Throughput .* no decoder; decompress it"):
        read_headers(str(path))
    write_slice(path, syntax=JPEG2000Lossless, PixelData=encapsulate([b'picture.']))
    assert header(path).grid.rows == 6


def test_headers_longer_than_the_part_that_is_read_first_are_read(path, monkeypatch):
    monkeypatch.setattr(dicom_file, 'START_BYTES', 600)
    write_slice(path, StudyDescription='x' * 60, PatientComments='x' * 2000)
    assert header(path).intercept == -24


@pytest.mark.parametrize('count', [1, 20])
def test_sequences_longer_than_the_part_that_is_read_first_are_read(path, monkeypatch, count):
    sources = [item(ReferencedSOPInstanceUID=f'1.2.3.{i}') for i in range(count)]
    write_slice(path, SourceImageSequence=sources)
    dataset = pydicom.dcmread(path)
    dataset['SourceImageSequence'].is_undefined_length = True
    pydicom.dcmwrite(path, dataset)
    for length in range(600, len(path.read_bytes()), 7):
        monkeypatch.setattr(dicom_file, 'START_BYTES', length)
        assert header(path).intercept == -24


def test_series_without_a_uid_are_told_apart_by_folder_and_number(tmp_path):
    places = set()
    for i, number in enumerate((1, 1, 2)):
        folder = tmp_path / str(i // 2)
        folder.mkdir(exist_ok=True)
        write_slice(folder / f'{i}', SeriesInstanceUID='', SeriesNumber=number, z=i)
        places.add(header(folder / f'{i}').common)
    assert len(places) == 2


@needs_shared_data
def test_frames_of_a_file_have_their_own_place():
    headers, skipped = read_headers(
        str(SHARED_DATA / 'dicom/enhanced/legacy_enhanced_3frames_rle.dcm')
    )
    assert skipped == []
    assert [found.frame for found in headers] == [0, 1, 2]
    assert [found.grid.position[2] for found in headers] == [-126.690002, -127.690002, -128.690002]
    assert {found.grid.spacing for found in headers} == {(0.810547, 0.810547)}
    assert {(found.slope, found.intercept) for found in headers} == {(1, -1024)}


@pytest.mark.parametrize('syntax', [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize('undefined', [False, True])
def test_sequences_are_read_in_every_encoding(path, syntax, undefined):
    write_enhanced(path, syntax=syntax)
    dataset = pydicom.dcmread(path)
    for keyword in ('SharedFunctionalGroupsSequence', 'PerFrameFunctionalGroupsSequence'):
        dataset[keyword].is_undefined_length = undefined
        for groups in dataset[keyword].value:
            groups.is_undefined_length_sequence_item = undefined
    pydicom.dcmwrite(path, dataset)
    headers, skipped = read_headers(str(path))
    assert skipped == []
    assert [found.grid.position for found in headers] == [(-10, -20, 0), (-10, -20, -1)]
    assert [found.time for found in headers] == ['20260102101500'] * 2
    assert [found.intercept for found in headers] == [-24, -24]


def test_frames_are_taken_or_skipped_one_by_one(path):
    write_enhanced(path, [AXIAL, (1, 0, 0, 0, 0, -1)])
    headers, skipped = read_headers(str(path))
    assert [found.frame for found in headers] == [0]
    (only,) = skipped
    assert 'frame 2 of 2: not axial' in str(only)


def test_a_file_with_another_number_of_frames_than_it_says_is_refused(path):
    write_enhanced(path, NumberOfFrames=3)
    with pytest.raises(InputError, match=r"2 items of PerFrame.* NumberOfFrames .* is '3'"):
        read_headers(str(path))
