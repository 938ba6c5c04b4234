"""Which mask is of which series."""

import types

import fake_scans
import numpy as np
import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.masks import JoinedMasks, mask_paths
from bodycomp_jax.estimation.result import NotMeasured

SERIES = fake_scans.series([0.0, 1.0], name='1.2.840.1')


@pytest.mark.parametrize('name', ['1.2.840.1.nii.gz', '1.2.840.1.dcm', '1.2.840.1.png'])
def test_a_mask_has_the_name_of_its_series(tmp_path, name):
    for each in (name, '1.2.840.10.nii.gz', '1.2.840.nii.gz'):
        (tmp_path / each).touch()
    assert mask_paths(str(tmp_path), SERIES, alone=False) == [str(tmp_path / name)]


def test_a_mask_may_be_a_folder(tmp_path):
    (tmp_path / '1.2.840.1').mkdir()
    assert mask_paths(str(tmp_path), SERIES, alone=False) == [str(tmp_path / '1.2.840.1')]


def test_a_single_series_has_the_only_mask(tmp_path):
    assert mask_paths(str(tmp_path), SERIES, alone=True) == [str(tmp_path)]
    assert mask_paths('any.nii', SERIES, alone=True) == ['any.nii']
    with pytest.raises(NotMeasured, match=r'no mask of the series 1.2.840.1; name it') as error:
        mask_paths(str(tmp_path), SERIES, alone=False)
    assert error.value.status == 'no_mask'


def test_two_masks_of_a_series_are_refused(tmp_path):
    for end in ('.nii', '.dcm'):
        (tmp_path / f'1.2.840.1{end}').touch()
    with pytest.raises(InputError, match=r'1.2.840.1.dcm, 1.2.840.1.nii are masks of the same'):
        mask_paths(str(tmp_path), SERIES, alone=True)


def test_slices_of_a_series_have_masks_of_their_own(tmp_path):
    names = ['1.2.840.1_L3.dcm', '1.2.840.1_T12.dcm']
    for each in (*names, '1.2.840.10_L3.dcm', '1.2.840.1.9.dcm', '1.2.840.1_L3.txt'):
        (tmp_path / each).touch()
    found = mask_paths(str(tmp_path), SERIES, alone=False)
    assert found == [str(tmp_path / name) for name in names]
    (tmp_path / '1.2.840.1_L3.nii.gz').touch()
    with pytest.raises(InputError, match=r'1.2.840.1_L3.dcm, 1.2.840.1_L3.nii.gz, .* keep one'):
        mask_paths(str(tmp_path), SERIES, alone=False)
    (tmp_path / '1.2.840.1.nii').touch()
    assert mask_paths(str(tmp_path), SERIES, alone=False) == [str(tmp_path / '1.2.840.1.nii')]


def test_masks_of_slices_are_joined():
    def mask(*values):
        return types.SimpleNamespace(labels=lambda i: np.full((2, 2), values[i], np.uint8))

    joined = JoinedMasks([mask(255, 1, 255), mask(2, 255, 255)])
    assert [int(joined.labels(i)[0, 0]) for i in range(3)] == [2, 1, 255]
