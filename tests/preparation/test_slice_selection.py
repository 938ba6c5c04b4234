"""Slice-selection sets from scans and positions of levels."""

import json

import cohort
import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data, read_rows
from PIL import Image

from bodycomp_jax import ct
from bodycomp_jax.config import SliceSelectionConfig, from_values
from bodycomp_jax.data.png import read_png
from bodycomp_jax.data.slice_selection import open_sets
from bodycomp_jax.data.squares import at_selection_size
from bodycomp_jax.errors import RunError
from bodycomp_jax.preparation.options import PreparationConfig
from bodycomp_jax.preparation.slice_selection import prepare_slice_selection_set

OF_SPLIT = {'train': (0, 2), 'val': (1,)}


def prepare(cases, folder, **options):
    prepare_slice_selection_set(
        PreparationConfig(cases=str(cases), output_dir=str(folder), **options)
    )
    return folder


@pytest.fixture(scope='module')
def prepared(patients, tmp_path_factory):
    folder = tmp_path_factory.mktemp('sets') / 'set'
    return prepare(patients.table, folder, levels=('L3', 'L1'))


def test_pictures_are_the_slices_in_the_window(patients, prepared):
    for split, numbers in OF_SPLIT.items():
        hu = np.concatenate([patients.trunks[i].hu for i in numbers])
        paths = sorted((prepared / 'images' / split).iterdir())
        assert len(paths) == len(hu)
        for path, each in list(zip(paths, hu, strict=True))[::7]:
            grey = ct.window(each.astype(np.float32)).round().astype(np.uint8)
            np.testing.assert_array_equal(read_png(path), at_selection_size(grey))


def test_offsets_are_those_of_the_positions(patients, prepared):
    for split, numbers in OF_SPLIT.items():
        rows = read_rows(prepared / 'meta' / f'{split}.csv')
        heights = np.concatenate([patients.trunks[i].z for i in numbers])
        assert [float(row['z']) for row in rows] == heights.tolist()
        start = 0
        for i in numbers:
            trunk = patients.trunks[i]
            of_series = rows[start : start + len(trunk.z)]
            start += len(trunk.z)
            for level in ('L3', 'L1'):
                offsets = np.array([float(row[f'ZOffset_{level}']) for row in of_series])
                assert np.ptp(offsets - trunk.z) == pytest.approx(0, abs=0.11)
                assert abs(offsets - trunk.z + trunk.levels[level]).max() <= cohort.SPACING / 2
            assert len({(row['series'], row['patient']) for row in of_series}) == 1
            has_uid = {row['SOPInstanceUID'] != '' for row in of_series}
            assert has_uid == {i != 2}


@pytest.mark.parametrize('folds', [{}, {'folds': 3, 'fold': 1}])
def test_the_trainer_takes_it(prepared, tmp_path, folds):
    config = from_values(SliceSelectionConfig, {'levels': ('L3', 'L1'), 'batch_size': 2, **folds})
    sets = open_sets(prepared, config, tmp_path, lambda items, count, title: items)
    for dataset in sets:
        dataset.validate()
    assert sum(len(dataset.series) for dataset in sets) == 3


def test_it_says_which_point_of_the_vertebra_it_is(patients, prepared, tmp_path):
    lower = prepare(patients.table, tmp_path / 'lower', reference='inferior', allow_rejected=True)
    rows = [read_rows(folder / 'meta' / 'val.csv') for folder in (prepared, lower)]
    first, second = (np.array([float(r['ZOffset_L3']) for r in of_folder]) for of_folder in rows)
    assert (second > first).all()
    for folder, reference in ((prepared, 'middle'), (lower, 'inferior')):
        assert json.loads((folder / 'dataset.json').read_text())['flags']['reference'] == reference


def test_a_test_set_needs_no_folds(changed, patients, tmp_path):
    folds = {i: {'split': 'test', 'fold': '0' * (i == 2)} for i in range(3)}
    folder = prepare(changed(folds, patients.rows), tmp_path / 'set')
    rows = read_rows(folder / 'meta' / 'test.csv')
    assert [row['fold'] for row in rows[:: len(rows) - 1]] == ['', '0']


def test_a_position_outside_the_scan_gives_its_offsets(changed, patients, tmp_path):
    folder = prepare(changed({1: {'L3': '-30'}}), tmp_path / 'set')
    offsets = [float(row['ZOffset_L3']) for row in read_rows(folder / 'meta' / 'val.csv')]
    np.testing.assert_allclose(offsets, patients.trunks[1].z + 30)


def test_a_case_whose_mask_is_wrong_is_left_out(changed, patients, tmp_path):
    trunk = patients.trunks[0]
    labels = cohort.vertebra_labels(trunk)
    labels[labels == cohort.TOTALSEGMENTATOR['L3']] = 0
    cohort.write_nifti(patients.folder / 'no_l3.nii.gz', labels)
    with pytest.raises(RunError, match='1 of 3 cases were left out'):
        prepare(changed({0: {'vertebrae': 'no_l3.nii.gz'}}), tmp_path / 'set')
    (row,) = read_rows(tmp_path / 'set' / 'rejected.csv')
    assert row['case'] == '0'
    assert 'L3 is not in the mask' in row['reason']
    assert len(read_rows(tmp_path / 'set' / 'series.csv')) == 2


def test_pictures_that_are_not_square_are_padded(patients, changed, tmp_path):
    cropped = patients.trunks[2].hu[:, 10:-10]
    cohort.write_nifti(patients.folder / 'cropped.nii.gz', cropped)
    cases = changed({2: {'image': 'cropped.nii.gz', 'L3': '200'}})
    folder = prepare(cases, tmp_path / 'set')
    picture = read_png(max((folder / 'images' / 'train').iterdir()))
    assert picture.shape == (256, 256)
    assert not picture[:38].any()
    assert picture[128].any()


def test_previews_have_a_line_at_each_level(prepared, patients):
    assert len(list((prepared / 'previews').iterdir())) == 3
    with Image.open(prepared / 'previews' / '000001.png') as picture:
        pixels = np.asarray(picture)
    lines = np.flatnonzero((pixels == (240, 201, 62)).all(2).mean(1) > 0.9)
    assert len(lines) == 2
    trunk = patients.trunks[1]
    mm = cohort.PIXEL * cohort.SIDE / 256
    expected = [(trunk.z[-1] - trunk.levels[level]) / mm for level in ('L1', 'L3')]
    assert np.abs(lines - expected).max() <= cohort.SPACING / mm / 2 + 1


@needs_shared_data
def test_the_offsets_of_a_real_spine(tmp_path):
    folder = SHARED_DATA / 'totalsegmentator'
    row = {
        'image': folder / 'ct_spine.nii.gz',
        'vertebrae': folder / 'ct_spine_vertebrae.nii.gz',
    }
    cases = cohort.write_table(tmp_path / 'cases.csv', [row])
    prepare(cases, tmp_path / 'set', levels=('L3', 'L1'))
    rows = read_rows(tmp_path / 'set' / 'meta' / 'train.csv')
    known = [
        row for s in ('train', 'val') for row in read_rows(SHARED_DATA / f'spine_png/meta/{s}.csv')
    ]
    assert len(rows) == len(known)
    for level in ('L3', 'L1'):
        found, wanted = (sorted(float(r[f'ZOffset_{level}']) for r in x) for x in (rows, known))
        np.testing.assert_allclose(found, wanted, atol=0.5)
