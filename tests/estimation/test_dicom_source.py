"""Slices as images of which DICOM objects can be made."""

import pydicom
import pytest
from helpers import SHARED_DATA, needs_shared_data
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage
from scan_files import HU, write_enhanced, write_nifti, write_slice

from bodycomp_jax.data.scans import find_series
from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.dicom_source import GEOMETRY, TEXTS, UIDS, read_source


def source_of(path, i=0):
    return read_source(find_series(path).series[0].slices[i])


def replaced(tmp_path, **elements):
    """Keywords that the source of a file with these elements has otherwise than the file."""
    write_slice(tmp_path / 'a.dcm', **elements)
    image, file = source_of(tmp_path).image, pydicom.dcmread(tmp_path / 'a.dcm')
    read = [*UIDS, *TEXTS, *GEOMETRY, 'Rows', 'Columns', 'SliceThickness']
    return [keyword for keyword in read if (image[keyword].value or '') != file.get(keyword, '')]


def test_a_source_has_the_patient_study_and_geometry_of_the_file(tmp_path):
    write_slice(
        tmp_path / 'a.dcm',
        z=12.5,
        PatientName='M\u00fcller^Anna',
        SpecificCharacterSet='ISO_IR 100',
        PatientSex='F',
        StudyDate='20260102',
        SliceThickness='5.0',
    )
    source = source_of(tmp_path)
    assert source.patient_name == 'M\u00fcller^Anna'
    assert source.image.PatientID == 'P1'
    assert (source.image.PatientSex, source.image.StudyDate) == ('F', '20260102')
    assert source.image.ImagePositionPatient == [-10, -20, 12.5]
    assert source.image.PixelSpacing == [0.75, 0.5]
    assert source.image.SliceThickness == 5
    assert (source.image.Rows, source.image.Columns) == (6, 8)
    assert (source.sop_class, source.frame) == (CTImageStorage, None)


def test_what_objects_can_have_is_as_in_the_file(tmp_path):
    assert replaced(tmp_path, SliceThickness='5.0', PatientID='P1', StudyDate='20260102') == []


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('thickness', [None, '', '-5', '1e9'])
def test_the_thickness_is_replaced_where_it_is_unknown(tmp_path, thickness):
    assert replaced(tmp_path, SliceThickness=thickness) == ['SliceThickness']
    assert source_of(tmp_path).image.SliceThickness == 1


def test_a_frame_has_its_own_position_and_number(tmp_path):
    write_enhanced(tmp_path / 'a.dcm')
    sources = [source_of(tmp_path, i) for i in range(2)]
    assert [source.frame for source in sources] == [2, 1]
    assert [source.image.ImagePositionPatient[2] for source in sources] == [-1, 0]
    assert {source.sop_class for source in sources} == {EnhancedCTImageStorage}


def test_uids_that_are_missing_are_made_up_alike_for_a_series(tmp_path):
    for z in (0.0, 5.0):
        write_slice(tmp_path / f'{z}.dcm', z=z, SliceThickness=5, **dict.fromkeys(UIDS, ''))
    first, second = (source_of(tmp_path, i) for i in range(2))
    for uid in UIDS:
        assert getattr(first.image, uid) == getattr(source_of(tmp_path).image, uid) != ''
        same = getattr(first.image, uid) == getattr(second.image, uid)
        assert same == (uid != 'SOPInstanceUID')


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize(
    ('keyword', 'value'),
    [
        ('PatientSex', 'W'),
        ('StudyDate', '20260230'),
        ('PatientBirthDate', 'unknown'),
        ('StudyTime', '9999'),
        ('FrameOfReferenceUID', 'none'),
    ],
)
def test_values_that_no_object_can_have_are_replaced(tmp_path, keyword, value):
    assert replaced(tmp_path, SliceThickness=5, **{keyword: value}) == [keyword]


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_texts_that_are_too_long_still_identify(tmp_path):
    longer = {'PatientID': 'P' * 80, 'StudyInstanceUID': '1.2.03'}
    assert replaced(tmp_path, SliceThickness=5, **longer) == []
    image = source_of(tmp_path).image
    assert {keyword: image[keyword].value for keyword in longer} == longer


def test_nifti_files_are_refused(tmp_path):
    write_nifti(tmp_path / 'a.nii', HU[..., None])
    with pytest.raises(InputError, match=r'a\.nii: a NIfTI file has no patient'):
        source_of(tmp_path)


def test_a_file_that_is_gone_is_refused(tmp_path):
    write_slice(tmp_path / 'a.dcm')
    (series,) = find_series(tmp_path).series
    (tmp_path / 'a.dcm').unlink()
    with pytest.raises(InputError, match=r'a\.dcm: cannot be opened'):
        read_source(series.slices[0])


@needs_shared_data
def test_slices_without_identifiers_become_sources():
    source = source_of(SHARED_DATA / 'totalsegmentator' / 'ct_dicom')
    assert len({'', source.image.StudyInstanceUID, source.image.SeriesInstanceUID}) == 3
    assert source.sop_class == CTImageStorage
