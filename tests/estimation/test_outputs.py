"""The files of a series."""

import dataclasses

import fake_scans
import numpy as np
import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation import outputs
from bodycomp_jax.estimation.options import EstimationConfig
from bodycomp_jax.estimation.outputs import write_outputs
from bodycomp_jax.estimation.result import Estimate, Measured

HU = np.full((8, 8), 40, np.int16)
LABELS = (HU > 0).astype(np.uint8)


@pytest.fixture
def written(tmp_path):
    """The rows and the files of two slices, whose own file does not exist."""
    config = EstimationConfig(
        scans='scans', output_dir=str(tmp_path), segmentation='a', single_slices=True
    )

    def write(level, path='a.nii', **options):
        series = fake_scans.series([0.0, 5.0], name='S1')
        slices = tuple(dataclasses.replace(each, path=path) for each in series.slices)
        series = dataclasses.replace(series, slices=slices)
        measured = [Measured(level, i, LABELS, HU, {}) for i in range(2)]
        found = Estimate(series, 'measured', '', measured, {}, {})
        rows = write_outputs(
            dataclasses.replace(config, **options), found, model='a', threshold=10.0
        )
        return rows, {each.relative_to(tmp_path).as_posix() for each in tmp_path.glob('*/*')}

    return write


def test_slices_of_nifti_files_are_written_as_nifti(written):
    rows, files = written('slice')
    row = rows['slice', 1]
    assert row['segmentation'] == 'segmentations/S1_slice_1.nii.gz'
    assert row['preview'] == 'previews/S1_slice_1.jpg'
    assert row['not_dicom_reason'].startswith('a.nii: a NIfTI file has no patient')
    assert {row['segmentation'], row['preview']} < files
    assert len(files) == 4


def test_a_file_that_has_gone_is_not_one_that_is_not_dicom(written):
    with pytest.raises(InputError, match=r'a\.dcm: cannot be opened'):
        written('slice', 'a.dcm')


def test_what_highdicom_refuses_is_said(written, monkeypatch):
    def refuse(*_, **__):
        raise ValueError('no such code')

    monkeypatch.setattr(outputs, 'read_source', lambda of: None)
    monkeypatch.setattr(outputs, 'segmentation', refuse)
    rows, _ = written('slice', 'a.dcm')
    assert rows['slice', 0]['segmentation'] == 'segmentations/S1_slice_0.nii.gz'
    assert rows['slice', 0]['not_dicom_reason'] == 'no such code'
    monkeypatch.setattr(outputs, 'segmentation', lambda *_, **__: None)
    monkeypatch.setattr(outputs, 'write_dicom', lambda path, made: None)
    monkeypatch.setattr(outputs, 'structured_report', refuse)
    rows, _ = written('slice', 'a.dcm', sr=True)
    assert rows['slice', 0]['segmentation'] == 'segmentations/S1_slice_0.dcm'
    assert rows['slice', 0]['not_dicom_reason'] == 'no structured report: no such code'


@pytest.mark.parametrize('level', ['../../L3', 'L3' * 200, 'L3\n'])
def test_levels_become_names_of_files(written, level):
    _, files = written(level)
    assert {folder for folder, _ in (file.split('/') for file in files)} == {
        'segmentations', 'previews',
    }  # fmt: skip
