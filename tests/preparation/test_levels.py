"""Where the levels of a case are."""

import re

import cohort
import pytest
from helpers import SHARED_DATA, needs_shared_data

from bodycomp_jax.data.scans import find_series
from bodycomp_jax.errors import InputError
from bodycomp_jax.preparation.cases import Case
from bodycomp_jax.preparation.levels import level_positions, refuse_missing_levels
from bodycomp_jax.preparation.options import PreparationConfig


@pytest.fixture(scope='module')
def series(patients):
    return find_series(patients.folder / 'ct0').series[0]


def positions(series, levels=('L3',), vertebrae='', reference='middle', **columns):
    config = PreparationConfig(cases='', output_dir='', levels=levels, reference=reference)
    case = Case(number=0, image='ct0', vertebrae=str(vertebrae), levels=columns)
    return level_positions(case, series, config)


def test_a_position_in_mm(series):
    assert positions(series, L3=' -64.9', L1='12') == {'L3': -64.9}


def test_the_slice_of_a_level(series):
    fifth = series.slices[5]
    uid, name = fifth.sop_instance_uid, fifth.path.rsplit('/', 1)[-1]
    assert positions(series, L3_sop_instance_uid=uid) == {'L3': fifth.z}
    assert positions(series, L3_file=f'anywhere/{name}') == {'L3': fifth.z}


def test_columns_that_contradict_each_other(series):
    fifth = series.slices[5]
    assert positions(series, L3=f'{fifth.z:.2f}', L3_file=fifth.path) == {'L3': round(fifth.z, 2)}
    assert positions(series, L3='-64.9', L3_file='of another series.dcm') == {'L3': -64.9}
    with pytest.raises(InputError, match=r'ct0: the L3_file .* another column says that L3 is at'):
        positions(series, L3=str(fifth.z + 40), L3_file=fifth.path)


def test_a_mask_of_vertebrae(patients, series):
    trunk, mask = patients.trunks[0], patients.folder / 'vertebrae0.nii.gz'
    middle = positions(series, ('L3', 'T12'), mask)
    for level, mm in middle.items():
        assert abs(mm - trunk.levels[level]) <= cohort.SPACING / 2
    inferior = positions(series, ('L3', 'T12'), mask, 'inferior')
    assert all(inferior[level] < middle[level] for level in middle)
    assert positions(series, ('L3', 'T12'), mask, L3='200') == middle | {'L3': 200.0}


@pytest.mark.parametrize(
    ('columns', 'message'),
    [
        ({}, 'no position of L3: give a column L3 with its z in mm, L3_file'),
        ({'L3': '2,5'}, "column L3: invalid position '2,5': expected a number of mm"),
        ({'L3': 'nan'}, "invalid position 'nan'"),
        ({'L3': 'inf'}, "invalid position 'inf'"),
        ({'L3': '5000'}, "'5000': expected a number of mm such as -64.9, at most 2000 from"),
        ({'L3': '1_0'}, "invalid position '1_0'"),
        ({'L3_file': 'no.dcm'}, 'ct0: 0 slices have the L3_file no.dcm; give that of one slice'),
        ({'L3_sop_instance_uid': '1.2'}, '0 slices have the L3_sop_instance_uid 1.2'),
    ],
)
def test_what_is_no_position(series, columns, message):
    with pytest.raises(InputError, match=re.escape(message)):
        positions(series, **columns)


def test_a_lower_level_above_a_higher_one(series):
    with pytest.raises(InputError, match=r'ct0: L3 at 90.0 mm is not below L1 at 50.0 mm'):
        positions(series, ('L3', 'L1'), L3='90', L1='50')


def test_a_level_that_the_mask_lacks(patients, series):
    with pytest.raises(InputError, match='T8 is not in the mask'):
        positions(series, ('L3', 'T8'), patients.folder / 'vertebrae0.nii.gz')


@pytest.mark.parametrize('levels', [(), ('L3', 'L3'), ('l3',), ('L9',)])
def test_what_is_no_level(levels):
    with pytest.raises(InputError, match=r'invalid --levels=.*: name vertebrae such as L3 or T12'):
        PreparationConfig(cases='', output_dir='', levels=levels)


def test_a_level_of_which_no_case_says_anything():
    cases = [Case(0, {'L3': ''}), Case(1, {'L3': '2', 'L1_file': 'x'})]
    refuse_missing_levels('cases.csv', cases, ('L3', 'L1'))
    refuse_missing_levels('cases.csv', [*cases, Case(2, {}, vertebrae='mask')], ('T12',))
    with pytest.raises(InputError, match=r'cases.csv: no position of T12: give a column T12'):
        refuse_missing_levels('cases.csv', cases, ('L3', 'T12'))


@needs_shared_data
def test_real_vertebrae():
    folder = SHARED_DATA / 'totalsegmentator'
    spine = find_series(folder / 'ct_spine.nii.gz').series[0]
    found = positions(spine, ('L3', 'L1'), folder / 'ct_spine_vertebrae.nii.gz')
    assert found == pytest.approx({'L3': 314.6, 'L1': 382.6}, abs=0.5)
    abdomen = find_series(folder / 'ct_abdomen.nii.gz').series[0]
    with pytest.raises(InputError, match='L2 is cut by the end of the scan'):
        positions(abdomen, ('L2',), folder / 'ct_abdomen_total.nii.gz')
