import re

import numpy as np
import pytest
from PIL import Image

from bodycomp_jax.config import SliceSelectionConfig, from_values
from bodycomp_jax.data.slice_selection import open_sets, write_split
from bodycomp_jax.errors import InputError

FOLDS = 3
MM = np.arange(-20.0, 20, 10)  # of each scan
SCANS = {'train': 'abcd', 'val': 'ef'}


@pytest.fixture
def folder(tmp_path):
    """Six scans of four slices."""
    rng = np.random.default_rng(0)
    for split, names in SCANS.items():
        images = rng.integers(0, 256, (len(names) * len(MM), 256, 256), np.uint8)
        series = np.repeat([*names], len(MM))
        write_split(tmp_path, split, images, {'L3': np.tile(MM, len(names))}, series.tolist())
    return tmp_path


def validated(folder, fold):
    config = from_values(SliceSelectionConfig, {'batch_size': 2, 'folds': FOLDS, 'fold': fold})
    sets = open_sets(folder, config, folder, lambda items, count, title: items)
    for dataset in sets:
        dataset.validate()
    return sets


def add_column(folder, split, name, values):
    path = folder / f'meta/{split}.csv'
    header, *rows = path.read_text().splitlines()
    lines = [f'{row},{value}' for row, value in zip(rows, values, strict=True)]
    path.write_text('\n'.join([f'{header},{name}', *lines]))


def test_each_series_validates_in_one_fold_and_trains_in_the_others(folder):
    seen = []
    for fold in range(FOLDS):
        train_set, val_set = validated(folder, fold)
        assert sorted([*train_set.series, *val_set.series]) == [*'abcdef']
        seen += val_set.series
        for rows in val_set.series.values():
            assert val_set.read(rows)['offset'][:, 0].tolist() == MM.tolist()
        assert re.match(
            rf'8 slices \(fold {fold} of 3 by series\) of 256 x 256', val_set.describe()
        )
        assert val_set.warnings() == []
    assert sorted(seen) == [*'abcdef']


def test_pictures_go_with_their_offsets(folder):
    _, val_set = validated(folder, 1)
    for name, rows in val_set.series.items():
        split = 'train' if name in SCANS['train'] else 'val'
        first = SCANS[split].index(name) * len(MM)
        for i, image in enumerate(val_set.read(rows)['image']):
            path = folder / f'images/{split}/{first + i:06d}.png'
            np.testing.assert_array_equal(image, np.asarray(Image.open(path)))


def test_series_of_a_patient_stay_together_and_given_folds_go_before(folder):
    add_column(folder, 'train', 'patient', np.repeat([*'xyzz'], 4))
    add_column(folder, 'val', 'patient', np.repeat([*'xw'], 4))
    for fold in range(FOLDS):
        for dataset in validated(folder, fold):
            assert ('a' in dataset.series) == ('e' in dataset.series)
            assert ('c' in dataset.series) == ('d' in dataset.series)
    add_column(folder, 'train', 'fold', np.repeat([1, 2, 3, 3], 4))
    add_column(folder, 'val', 'fold', np.repeat([1, 2], 4))
    assert [[*validated(folder, fold)[1].series] for fold in range(FOLDS)] == [
        ['a', 'e'], ['b', 'f'], ['c', 'd'],
    ]  # fmt: skip


def test_the_fingerprint_is_that_of_the_fold(folder):
    found = [[dataset.fingerprint() for dataset in validated(folder, fold)] for fold in (0, 1, 0)]
    assert found[0] == found[2]
    for one, other in zip(found[0], found[1], strict=True):
        assert one['images'] != other['images']


def test_without_patients_and_series_there_are_no_folds(folder):
    for split in SCANS:
        path = folder / f'meta/{split}.csv'
        path.write_text(path.read_text().replace('series', 'x'))
    with pytest.raises(InputError, match=r"train\.csv: no column patient among 'x', 'ZOffset_L3'"):
        validated(folder, 0)
