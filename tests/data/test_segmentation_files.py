import re

import numpy as np
import pytest
from helpers import tiny_config

from bodycomp_jax.data import phantom
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.data.segmentation_files import open_files
from bodycomp_jax.errors import InputError, RunError

FOLDS = 3


def write_slices(folder, patients):
    """A table in another order than the arrays; `patients` of the training slices come first."""
    places = [('train', i) for i in range(8)] + [('val', i) for i in range(4)]
    lines = [f'{split},{row},{p}' for (split, row), p in zip(places, patients, strict=True)]
    text = '\n'.join(['split,row,patient', *lines[::-1]])
    (folder / 'slices.csv').write_text(text)


@pytest.fixture
def folder(tmp_path):
    """Eight training and four validation slices of six patients, some of them in both."""
    phantom.write_segmentation_set(tmp_path, train=8, val=4, side=64)
    write_slices(tmp_path, 'aabbccdd' + 'aeef')
    return tmp_path


def opened(folder, fold, **options):
    config = tiny_config(folds=FOLDS, fold=fold, batch_size=4)
    return open_sets(folder, config, **options)


def validated(folder, fold, **options):
    sets = opened(folder, fold, **options)
    for dataset in sets:
        dataset.validate()
    return sets


def images_of(dataset):
    return dataset.read(np.arange(len(dataset)))['image']


def test_each_slice_validates_in_one_fold_and_trains_in_the_others(folder):
    whole = {
        image.tobytes(): row
        for row, image in enumerate(
            np.concatenate([open_files(folder, s)[0].read_span(0, n) for s, n in SPLIT_SIZES])
        )
    }
    patients = np.array([*'aabbccddaeef'])
    seen = []
    for fold in range(FOLDS):
        train_set, val_set = validated(folder, fold)
        train, val = (
            [whole[image.tobytes()] for image in images_of(dataset)]
            for dataset in (train_set, val_set)
        )
        assert sorted(train + val) == list(range(12))
        assert not set(patients[train]) & set(patients[val])
        seen += val
    assert sorted(seen) == list(range(12))


SPLIT_SIZES = (('train', 8), ('val', 4))


def test_masks_go_with_their_images(folder):
    pairs = [
        (image.tobytes(), mask.tobytes())
        for split, n in SPLIT_SIZES
        for image, mask in zip(*(f.read_span(0, n) for f in open_files(folder, split)), strict=True)
    ]
    _, val_set = opened(folder, 1)
    batch = val_set.read(np.arange(len(val_set)))
    for image, mask in zip(batch['image'], batch['mask'], strict=True):
        assert (image.tobytes(), mask.tobytes()) in pairs


def test_the_fold_is_in_the_description_and_the_fingerprint(folder):
    train_set, val_set = validated(folder, 0)
    assert re.match(r'\d slices \(all but fold 0 of 3 by patient\) of 64 x', train_set.describe())
    assert re.match(r'\d slices \(fold 0 of 3 by patient\) of 64 x 64', val_set.describe())
    others = [validated(folder, fold) for fold in range(FOLDS)]
    assert [o[0].fingerprint() == train_set.fingerprint() for o in others] == [True, False, False]
    assert [o[1].fingerprint() == val_set.fingerprint() for o in others] == [True, False, False]


def change(folder, name, row, value):
    array = np.load(folder / f'{name}.npy')
    array[row, :8, :8] = value
    np.save(folder / f'{name}.npy', array)


def test_errors_and_warnings_name_the_slice_in_its_file(folder):
    change(folder, 'val_masks', 3, 77)
    message = r'fold \d of 3 by patient: slice 3 of val_masks\.npy has the labels 77, and 1 of'
    with pytest.raises(InputError, match=message):
        validated(folder, 0)
    change(folder, 'val_masks', 3, 0)
    masks = np.load(folder / 'val_masks.npy')
    masks[2] = 0
    np.save(folder / 'val_masks.npy', masks)
    said = ' '.join(text for dataset in validated(folder, 0) for text in dataset.warnings())
    assert 'no label in 1 of' in said
    assert 'the first is slice 2 of val_images.npy' in said


def test_copies_of_a_slice_under_two_patients_are_refused(folder):
    for kind in ('images', 'masks'):
        source, target = (np.load(folder / f'{split}_{kind}.npy') for split in ('train', 'val'))
        target[1] = source[0]
        np.save(folder / f'val_{kind}.npy', target)
    message = (
        r'slice \d of (train|val)_images\.npy is also slice \d of (train|val)_images\.npy in .*all '
        'but fold .* with --folds, give the copies of a slice one patient'
    )
    refused = 0
    for fold in range(FOLDS):
        try:
            validated(folder, fold)
        except InputError as error:
            assert re.search(message, str(error))
            refused += 1
    assert refused == 2  # the folds of the two patients
    write_slices(folder, 'aabbccdd' + 'aaef')
    validated(folder, 0)


def test_both_sets_notice_a_change_of_either_file(folder):
    train_set, val_set = validated(folder, 0)
    change(folder, 'train_images', slice(None), 7)
    for dataset in (train_set, val_set):
        with pytest.raises(RunError, match=r'fold 0 of 3 by patient: other content'):
            dataset.refuse_changes()
    np.save(folder / 'val_masks.npy', np.load(folder / 'val_masks.npy')[:3])
    with pytest.raises(RunError, match=r'val_masks\.npy: uint8 of shape .3, 64, 64, 1., but it'):
        val_set.refuse_changes()


def test_types_are_checked_file_by_file(folder):
    np.save(folder / 'val_images.npy', np.load(folder / 'val_images.npy').astype(np.uint16))
    with pytest.raises(InputError, match=r'val_images\.npy: .* uint16 cannot hold Hounsfield'):
        opened(folder, 0)


def test_a_fold_needs_the_table(folder):
    (folder / 'slices.csv').unlink()
    with pytest.raises(
        InputError, match=r'slices\.csv: no such table, which says whose slices these are'
    ):
        opened(folder, 0)
