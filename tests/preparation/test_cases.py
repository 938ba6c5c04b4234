"""Tables of cases."""

import re

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.preparation.cases import Case, read_cases


@pytest.fixture
def table(tmp_path):
    for name in ('ct', 'ct2', 'mask.nii'):
        (tmp_path / name).touch()

    def write(text):
        (tmp_path / 'cases.csv').write_text(text)
        return str(tmp_path / 'cases.csv')

    return write


def test_paths_are_relative_to_the_table_or_absolute(table, tmp_path):
    path = table(f'image,mask\nct,mask.nii\n{tmp_path}/ct2,mask.nii\n')
    first, second = read_cases(path, ('image', 'mask')).cases
    assert first == Case(number=0, levels={}, image=f'{tmp_path}/ct', mask=f'{tmp_path}/mask.nii')
    assert second.image == f'{tmp_path}/ct2'


def test_all_columns(table, tmp_path):
    path = table(
        'patient,image,vertebrae,split,fold,series,L3,T12_file,L1_sop_instance_uid\n'
        'a, ct ,mask.nii,val,2,1.2.3,-64.9,003.dcm,1.2\n'
    )
    (case,) = read_cases(path, ('image',)).cases
    assert case == Case(
        number=0,
        image=f'{tmp_path}/ct',
        vertebrae=f'{tmp_path}/mask.nii',
        patient='a',
        split='val',
        fold='2',
        series='1.2.3',
        levels={'L3': '-64.9', 'T12_file': '003.dcm', 'L1_sop_instance_uid': '1.2'},
    )


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('image,mask,spacing\nct,mask.nii,1\n', "unknown columns 'spacing'; use image, mask"),
        ('image,L33_x\nct,1\n', "unknown columns 'L33_x'"),
        ('image,mask,L9\nct,mask.nii,1\n', "unknown columns 'L9'"),
        ('image,mask\nct,nan\n', 'row 0 names no mask'),
        ('mask\nmask.nii\n', "no column image among 'mask'"),
        ('image,mask,mask\nct,ct,ct\n', '2 columns have the name mask'),
        ('image,mask\nct,\n', 'row 0 names no mask; give its path'),
        ('image,mask\nct,mask.nii\nct,no\n', 'row 1: the mask .*/no does not exist; correct its'),
        ('image,mask,split\nct,mask.nii,valid\n', "the column split holds 'valid'"),
        ('image,mask\n', 'no rows'),
    ],
)
def test_what_is_refused(table, text, message):
    path = table(text)
    with pytest.raises(InputError, match=f'^{re.escape(path)}: {message}'):
        read_cases(path, ('image', 'mask'))


def test_what_pandas_writes_for_no_value_is_none(table):
    path = table('image,mask,patient,split,fold,L3\nct,mask.nii,nan,NaN, None ,n/a\n')
    (case,) = read_cases(path, ('image', 'mask')).cases
    assert (case.patient, case.split, case.fold, case.levels) == ('', '', '', {'L3': ''})


def test_a_table_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match='no such table'):
        read_cases(f'{tmp_path}/cases.csv', ('image',))
