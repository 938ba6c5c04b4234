"""Folders of known data sets."""

import json

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.preparation.cases import read_cases


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def nnunet(folder, about):
    touch(folder, 'labelsTr/b.nii.gz', 'labelsTr/a.nii.gz')
    touch(folder, 'imagesTr/a_0000.nii.gz', 'imagesTr/b_0000.nii.gz', 'imagesTr/b_0001.nii.gz')
    (folder / 'dataset.json').write_text(about if isinstance(about, str) else json.dumps(about))


def read(folder):
    return read_cases(str(folder), ('image', 'mask'))


@pytest.mark.parametrize(
    'labels',
    [{'background': 0, 'muscle': 1, 'fat': '2'}, {'0': 'background', '1': 'muscle', '2': 'fat'}],
)
def test_nnunet_raw(tmp_path, labels):
    nnunet(tmp_path, {'labels': labels, 'file_ending': '.nii.gz'})
    cases = read(tmp_path)
    assert cases.names == {0: ('background',), 1: ('muscle',), 2: ('fat',)}
    assert [(case.patient, case.image, case.mask) for case in cases.cases] == [
        (name, f'{tmp_path}/imagesTr/{name}_0000.nii.gz', f'{tmp_path}/labelsTr/{name}.nii.gz')
        for name in ('a', 'b')
    ]


@pytest.mark.parametrize(
    ('about', 'message'),
    [
        ('{', 'dataset.json: not readable as JSON'),
        ('[' * 100_000, 'dataset.json: not readable as JSON'),
        ('[]', 'dataset.json: not a JSON object, but list'),
        ('{}', 'dataset.json: no "labels" with a number'),
        ({'labels': ['muscle']}, 'dataset.json: no "labels" with a number'),
        ({'labels': {'both': [1, 2]}}, "the label 'both': .1, 2. is not a name with a number"),
        ({'labels': {'muscle': '9' * 5000}}, "the label 'muscle'"),
        ({'labels': {'1': 2}}, "the label '1': 2 is not a name"),
        ({'labels': {}, 'file_ending': 3}, 'dataset.json: no "labels"'),
        ({'labels': {}, 'file_ending': '.nrrd'}, '"file_ending" is .[.]nrrd.; convert'),
        ({'labels': {}, 'file_ending': '.nii'}, 'no cases'),
    ],
)
def test_nnunet_that_cannot_be_read(tmp_path, about, message):
    nnunet(tmp_path, about)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_totalsegmentator(tmp_path):
    for name in ('s0002', 's0001'):
        touch(tmp_path, f'{name}/ct.nii.gz', f'{name}/segmentations/vertebrae_L3.nii.gz')
    touch(tmp_path, 's0001/tissue_types/torso_fat.nii.gz')
    (tmp_path / 'meta.csv').write_text('image_id;age;split\ns0001;50;val\ns0002;60;train\n')
    cases = read(tmp_path)
    assert cases.preset == 'totalsegmentator'
    assert [(case.patient, case.split, case.mask, case.vertebrae) for case in cases.cases] == [
        ('s0001', 'val', f'{tmp_path}/s0001/tissue_types', f'{tmp_path}/s0001/segmentations'),
        ('s0002', 'train', f'{tmp_path}/s0002/segmentations', f'{tmp_path}/s0002/segmentations'),
    ]


def test_an_unknown_split(tmp_path):
    touch(tmp_path, 's1/ct.nii.gz', 's1/segmentations/a.nii.gz')
    (tmp_path / 'meta.csv').write_text('image_id;split\ns1;Train\n')
    with pytest.raises(InputError, match="the column split holds 'Train'"):
        read(tmp_path)


def test_a_table_of_another_data_set(tmp_path):
    touch(tmp_path, 's1/ct.nii.gz', 's1/segmentations/a.nii.gz')
    (tmp_path / 'meta.csv').write_text('name;split\ns1;val\n')
    with pytest.raises(InputError, match=r'meta.csv: no column image_id; take the table'):
        read(tmp_path)


def test_saros(tmp_path):
    for name in ('case_001', 'case_000', 'case_002'):
        touch(tmp_path, f'{name}/image.nii.gz', f'{name}/body-regions.nii.gz')
    (tmp_path / 'Segmentation Info.csv').write_text(
        'id,patient_id,split\ncase_000,P,fold-1\ncase_001,Q,test\ncase_002,P,fold-1\n'
    )
    cases = read(tmp_path)
    assert cases.preset == 'saros'
    assert [(case.image, case.patient, case.split, case.fold) for case in cases.cases] == [
        (f'{tmp_path}/case_000/image.nii.gz', 'P', '', 'fold-1'),
        (f'{tmp_path}/case_001/image.nii.gz', 'Q', 'test', ''),
        (f'{tmp_path}/case_002/image.nii.gz', 'P', '', 'fold-1'),
    ]


def test_any_other_folder_is_refused(tmp_path):
    touch(tmp_path, 'a/image.dcm')
    with pytest.raises(InputError, match='neither nnU-Net raw data'):
        read(tmp_path)
