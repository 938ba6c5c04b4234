import pytest
from scan_files import item, replace_bytes, write_enhanced, write_slice

from bodycomp_jax.data.scans.metadata import COLUMNS, read_metadata
from bodycomp_jax.errors import InputError


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'slice.dcm'


def test_metadata_have_the_names_of_the_field(path):
    write_slice(
        path,
        SpecificCharacterSet='ISO_IR 192',
        SeriesDescription='Bäuche',
        StudyDate='20260102',
        SliceThickness='2.50',
        XRayTubeCurrent='120',
        Exposure='85',
        ExposureTime='500',
        KVP='100.0',
        ConvolutionKernel=['B30f', '3'],
    )
    assert read_metadata(str(path)) == dict.fromkeys(COLUMNS, '') | {
        'patient_id': 'P1',
        'study_date': '20260102',
        'study_instance_uid': '1.2.3',
        'series_instance_uid': '1.2.3.4',
        'modality': 'CT',
        'series_description': 'Bäuche',
        'slice_thickness_mm': '2.5',
        'reconstruction_kernel': 'B30f\\3',
        'tube_current_mA': '120',
        'exposure_mAs': '85',
        'exposure_time_ms': '500',
        'kvp': '100',
    }


def test_numbers_that_cannot_be_read_are_unknown(path):
    write_slice(path, KVP='100.5')
    replace_bytes(path, b'100.5', b'100,5')
    assert read_metadata(str(path))['kvp'] == ''


def test_metadata_of_frames_are_found_in_their_groups(path):
    write_enhanced(path)
    found = read_metadata(str(path))
    assert found['exposure_mAs'] == '12.5'
    assert (found['acquisition_date'], found['acquisition_time']) == ('20260102', '101500')


def test_contrast_agents_are_named_by_codes(path):
    agents = [item(CodeMeaning=name) for name in ('Jod', 'für den Darm')]
    write_enhanced(path, SpecificCharacterSet='ISO_IR 192', ContrastBolusAgentSequence=agents)
    assert read_metadata(str(path))['contrast_bolus_agent'] == 'Jod\\für den Darm'


def test_the_error_names_the_file(path):
    with pytest.raises(InputError, match=r'slice\.dcm: cannot be opened'):
        read_metadata(str(path))
