import dataclasses
import errno
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data

from bodycomp_jax import ct
from bodycomp_jax.config import SegmentationConfig, UNetConfig
from bodycomp_jax.data import phantom
from bodycomp_jax.data.segmentation import SegmentationSet, open_sets, write_split
from bodycomp_jax.data.segmentation_files import open_files
from bodycomp_jax.errors import InputError, RunError

TISSUES = ct.TISSUES
CONFIG = SegmentationConfig(
    network=UNetConfig(compression_channels=(2, 4), decompression_channels=(2,)), batch_size=4
)


@pytest.fixture
def data_dir(tmp_path):
    """Six training and three validation slices of 8 x 8, and their labels."""
    rng = np.random.default_rng(0)
    for split, n in (('train', 6), ('val', 3)):
        masks = rng.integers(0, 4, (n, 8, 8, 1), np.uint8)
        np.save(tmp_path / f'{split}_images.npy', hu_of(masks, rng))
        np.save(tmp_path / f'{split}_masks.npy', masks)
    return tmp_path


def hu_of(masks, rng):
    """Air, muscle and fat where the labels say so, with noise."""
    noise = rng.integers(-24, 24, masks.shape, np.int16)
    return np.array([-1000, 50, -100, -100], np.int16)[masks] + noise


def load(data_dir, name):
    return np.load(data_dir / f'{name}.npy')


def replace(data_dir, name, array):
    np.save(data_dir / f'{name}.npy', array)


def open_and_validate(data_dir, config=CONFIG):
    for dataset in open_sets(data_dir, config):
        dataset.validate()


def test_batches_are_the_rows_of_the_files(data_dir):
    train_set, val_set = open_sets(data_dir, CONFIG)
    assert (len(train_set), len(val_set), train_set.image_shape) == (6, 3, (8, 8))
    batch = train_set.read(np.array([5, 0]))
    assert list(batch) == ['image', 'mask']
    assert batch['image'].dtype == np.int16
    assert batch['mask'].dtype == np.uint8
    np.testing.assert_array_equal(batch['image'], load(data_dir, 'train_images')[[5, 0], ..., 0])
    np.testing.assert_array_equal(batch['mask'], load(data_dir, 'train_masks')[[5, 0], ..., 0])


def test_a_written_split_is_read_back(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(-1024, 2000, (3, 8, 8), np.int16)
    masks = rng.integers(0, 4, (3, 8, 8), np.uint8)
    write_split(tmp_path, 'val', zip(images, masks, strict=True))
    assert np.load(tmp_path / 'val_images.npy').shape == (3, 8, 8, 1)
    batch = SegmentationSet(*open_files(tmp_path, 'val'), TISSUES).read([0, 1, 2])
    np.testing.assert_array_equal(batch['image'], images)
    np.testing.assert_array_equal(batch['mask'], masks)


def test_a_split_with_an_error_midway_leaves_no_files(tmp_path):
    def slices():
        yield np.zeros((8, 8), np.int16), np.zeros((8, 8), np.uint8)
        raise RuntimeError('no more')

    with pytest.raises(RuntimeError, match='no more'):
        write_split(tmp_path, 'val', slices())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('dtype', 'shipped'),
    [
        ('<i2', 'int16'),
        ('>i2', 'int16'),
        ('<i4', 'int16'),
        ('<i8', 'int16'),
        ('<f2', 'float16'),
        ('<f4', 'float32'),
        ('>f4', 'float32'),
        ('<f8', 'float32'),
    ],
)
def test_images_of_any_type_keep_their_values(data_dir, dtype, shipped):
    images = load(data_dir, 'train_images')
    replace(data_dir, 'train_images', np.asfortranarray(images.astype(dtype)))
    train_set, _ = open_sets(data_dir, CONFIG)
    batch = train_set.read([3, 1])
    assert batch['image'].dtype == shipped
    np.testing.assert_array_equal(batch['image'], images[[3, 1], ..., 0])


def test_values_beyond_int16_are_clipped_not_wrapped(data_dir):
    images = load(data_dir, 'train_images').astype(np.int32)
    images[0, 0, :2, 0] = -(2**31), 2**31 - 1
    replace(data_dir, 'train_images', images)
    image = open_sets(data_dir, CONFIG)[0].read([0])['image'][0]
    np.testing.assert_array_equal(image[0, :2], [-(2**15), 2**15 - 1])


def test_the_channel_axis_may_be_missing(data_dir):
    images = load(data_dir, 'train_images')
    replace(data_dir, 'train_images', images[..., 0])
    batch = open_sets(data_dir, CONFIG)[0].read([2])
    np.testing.assert_array_equal(batch['image'], images[[2], ..., 0])


def test_the_description_has_sizes_types_and_label_shares(data_dir):
    masks = np.zeros((6, 8, 8, 1), np.uint8)
    masks[:3] = 1
    replace(data_dir, 'train_masks', masks)
    images = np.full((6, 8, 8, 1), 48, np.int16)
    images[:, 0, 0] = -900
    replace(data_dir, 'train_images', images)
    train_set, _ = open_sets(data_dir, CONFIG)
    train_set.validate()
    line = train_set.describe()
    assert line.startswith('6 slices of 8 x 8, images int16, masks uint8: ')
    assert 'background 50.0%, muscle 50.0%, subcutaneous fat 0.0%, visceral fat 0.0%' in line
    assert 'median HU muscle 48, subcutaneous fat nan, visceral fat nan' in line
    assert 'values -900 to 48; checked 0 MB' in line


def test_the_error_for_labels_out_of_range_counts_and_names_them(data_dir):
    masks = load(data_dir, 'val_masks').astype(np.int16)
    masks[1, 0, 0] = 7
    masks[2, 0, 0] = -1
    masks[2, 0, 1] = 9
    replace(data_dir, 'val_masks', masks)
    with pytest.raises(InputError, match='slice 1 has the labels 7, and 2 of 3 slices'):
        open_and_validate(data_dir)


def test_visceral_fat_in_a_thoracic_set_is_explained(data_dir):
    network = dataclasses.replace(CONFIG.network, thoracic_model=True)
    config = dataclasses.replace(CONFIG, network=network)
    with pytest.raises(
        InputError, match=r'labels must be 0\.\.2, or 255 for none; visceral fat \(3\)'
    ):
        open_and_validate(data_dir, config)


def part_not_labelled(masks, dtype=np.uint8):
    masks = masks.astype(dtype)
    masks[:, :4] = ct.NOT_LABELLED
    return masks


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.uint32])
def test_pixels_may_be_not_labelled(data_dir, dtype):
    masks = part_not_labelled(load(data_dir, 'train_masks'), dtype)
    masks[0] = ct.NOT_LABELLED
    replace(data_dir, 'train_masks', masks)
    images = load(data_dir, 'train_images')
    images[:, :4] = 3000  # what is below counts in no median
    replace(data_dir, 'train_images', images)
    train_set, _ = open_sets(data_dir, CONFIG)
    train_set.validate()
    np.testing.assert_array_equal(train_set.read([0, 1])['mask'], masks[:2, ..., 0])
    assert 'not labelled 58.3%; median HU muscle 4' in train_set.describe()
    said = ' '.join(train_set.warnings())
    assert 'no label in 1 of 6 slices, the first is slice 0' in said


def test_minus_one_in_8_bits_is_not_255(data_dir):
    masks = load(data_dir, 'train_masks').astype(np.int8)
    masks[2, 0, 0] = -1
    replace(data_dir, 'train_masks', masks)
    with pytest.raises(InputError, match=r'slice 2 has the labels -1, .* 0\.\.3, or 255 for none'):
        open_and_validate(data_dir)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_refused(data_dir, value):
    images = load(data_dir, 'train_images').astype(np.float32)
    images[4, 3, 3] = value
    replace(data_dir, 'train_images', images)
    with pytest.raises(InputError, match=r'train_images\.npy: slice 4 has'):
        open_and_validate(data_dir)


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('train_images', lambda a: a.astype(np.uint8), 'type uint8 cannot hold Hounsfield'),
        ('train_images', lambda a: a.astype(np.int8), 'type int8 cannot hold Hounsfield'),
        ('train_images', lambda a: a.astype(np.uint16), 'type uint16 cannot hold Hounsfield'),
        ('train_images', lambda a: a.astype(complex), 'type complex128 cannot hold Hounsfield'),
        ('train_masks', lambda a: a.astype(np.float32), 'type float32, expected integer labels'),
        ('train_masks', lambda a: a.astype(bool), 'type bool, expected integer labels'),
        ('train_images', lambda a: a[0, ..., 0], r'an array of shape \(8, 8\); expected'),
        ('train_images', lambda a: a.repeat(3, -1), r'an array of shape \(6, 8, 8, 3\); expected'),
        ('train_images', lambda a: a[:0], 'expected at least one slice'),
        ('train_images', lambda a: a[:, :4], 'slices of 4 x 8 are not square'),
        ('train_images', lambda a: np.moveaxis(a, 0, 2), r'save numpy\.moveaxis\(array, 2, 0\)'),
        (
            'train_images',
            lambda a: np.moveaxis(a[..., 0], 0, 2),
            r'shape \(8, 8, 6\): the last axis seems to count',
        ),
        ('train_masks', lambda a: a[:5], 'do not match'),
        ('train_masks', lambda a: a[:, :6, :6], 'do not match'),
    ],
)
def test_the_error_for_arrays_that_do_not_match_names_the_file(data_dir, name, change, message):
    replace(data_dir, name, change(load(data_dir, name)))
    with pytest.raises(InputError, match=rf'{name}\.npy: .*{message}'):
        open_sets(data_dir, CONFIG)


def test_splits_of_different_sizes_are_refused(data_dir):
    for name in ('val_images', 'val_masks'):
        replace(data_dir, name, load(data_dir, name)[:, :4, :4])
    with pytest.raises(InputError, match='slices of 4 x 4, but the training slices are 8 x 8'):
        open_sets(data_dir, CONFIG)


def test_sides_that_cannot_be_halved_are_refused(data_dir):
    network = UNetConfig(compression_channels=(2,) * 5, decompression_channels=(2,) * 4)
    config = dataclasses.replace(CONFIG, network=network)
    with pytest.raises(InputError, match=r'8 x 8 cannot be halved 4 times; use .* multiple of 16'):
        open_sets(data_dir, config)


def test_fewer_slices_than_a_batch_are_refused(data_dir):
    with pytest.raises(InputError, match='6 training slices are fewer than the 16 of one batch'):
        open_sets(data_dir, dataclasses.replace(CONFIG, batch_size=16))
    mixed = dataclasses.replace(CONFIG, batch_size=16, mix_synthetic=0.5)
    with pytest.raises(InputError, match='6 training slices are fewer than the 8 of one batch'):
        open_sets(data_dir, mixed)


def test_errors_for_missing_files_and_folders_name_them(data_dir):
    (data_dir / 'val_masks.npy').unlink()
    with pytest.raises(InputError, match=r'val_masks\.npy: cannot be opened'):
        open_sets(data_dir, CONFIG)
    shutil.rmtree(data_dir)
    with pytest.raises(InputError, match='no such folder'):
        open_sets(data_dir, CONFIG)


@pytest.fixture(scope='module')
def phantoms(tmp_path_factory):
    """Twelve training and four validation phantoms of 128 x 128."""
    folder = tmp_path_factory.mktemp('phantoms')
    phantom.write_segmentation_set(folder, train=12, val=4, side=128, seed=22)
    return folder


def with_changes(folder, tmp_path, **changes):
    """A copy of a set with other 'images' or 'masks' in its training split."""
    shutil.copytree(folder, tmp_path / 'changed')
    for kind, change in changes.items():
        replace(tmp_path / 'changed', f'train_{kind}', change(load(folder, f'train_{kind}')))
    return tmp_path / 'changed'


def warnings_of(data_dir, config=CONFIG):
    """The warnings of each split."""
    sets = open_sets(data_dir, config)
    for dataset in sets:
        dataset.validate()
    return [dataset.warnings() for dataset in sets]


def grey(hu):
    return ct.window(hu.astype(np.float32))


IMPOSSIBLE = {
    'fractions': ({'images': lambda x: grey(x) / 255}, 'values from 0 to 1 are scaled, not HU'),
    'z-scores': ({'images': lambda x: (x - x.mean()) / x.std()}, 'are scaled, not HU'),
    'grey values': ({'images': lambda x: grey(x).astype('i2')}, 'values from 0 to 255 are not HU'),
    'stored values': ({'images': lambda x: x + 1024}, 'RescaleIntercept'),
    'stored values with padding': (
        {'images': lambda x: np.where(x < -900, -2000, x + 1024)},
        r'median muscle 107\d, .* cannot be HU of these tissues',
    ),
    'inverted': ({'images': lambda x: -x}, 'median muscle .* cannot be HU'),
    'uniform slices': ({'images': lambda x: x * 0}, 'each slice has a single value'),
    'no labels': ({'masks': lambda x: x * 0}, 'no pixel has a label'),
    'nothing labelled': ({'masks': lambda x: x * 0 + ct.NOT_LABELLED}, 'no pixel has a label'),
}


@pytest.mark.parametrize('case', IMPOSSIBLE)
def test_values_that_cannot_be_right_are_refused_unless_they_are_not_checked(
    phantoms, tmp_path, case
):
    changes, message = IMPOSSIBLE[case]
    folder = with_changes(phantoms, tmp_path, **changes)
    with pytest.raises(
        InputError, match=rf'train_(images|masks)\.npy: (.* )?{message}.*give --nocheck_values'
    ):
        open_and_validate(folder)
    train_set, _ = open_sets(folder, CONFIG, check_values=False)
    train_set.validate()
    assert train_set.warnings() == []


def shifted(x):
    x = x.copy()
    x[7:10] += 1024
    return x


def without(label):
    return lambda x: x * (x != label)


def first_slices(value):
    def change(x):
        x = x.copy()
        x[2:4] = value
        return x

    return change


IMPROBABLE = {
    'order of labels': ({'masks': lambda x: np.array([0, 3, 1, 2], 'u1')[x]}, 'muscle .*, visc'),
    'upside down': ({'masks': lambda x: x[:, ::-1]}, 'neither flipped, transposed nor'),
    'left and right': ({'masks': lambda x: x[:, :, ::-1][::-1]}, 'nor in another order'),
    'transposed': (
        {'masks': lambda x: x.swapaxes(1, 2)},
        'in 1[0-2] of 12 slices, the first is slice 0',
    ),
    'other slices': ({'masks': lambda x: x[::-1]}, 'nor in another order'),
    'some shifted': ({'images': shifted}, 'in 3 of 12 slices, the first is slice 7'),
    'no muscle': ({'masks': without(1)}, 'no pixel is labelled muscle; its Dice is nan'),
    'unlabelled': ({'masks': first_slices(0)}, 'no label in 2 of 12 slices, the first is slice 2'),
    'uniform': ({'images': first_slices(-1000)}, 'a single value in 2 of 12 slices'),
}


@pytest.mark.parametrize('case', IMPROBABLE)
def test_what_is_improbable_is_said(phantoms, tmp_path, case):
    changes, message = IMPROBABLE[case]
    in_train, in_val = warnings_of(with_changes(phantoms, tmp_path, **changes))
    assert re.search(rf'train_images\.npy, with its masks: .*{message}', ' '.join(in_train))
    assert in_val == []


def test_a_set_that_is_labelled_in_part_is_read_without_a_warning(phantoms, tmp_path):
    def middle_alone(masks):
        known = np.full_like(masks, ct.NOT_LABELLED)
        known[:, 24:40] = masks[:, 24:40]
        return known

    assert warnings_of(with_changes(phantoms, tmp_path, masks=middle_alone)) == [[], []]


@pytest.mark.parametrize(
    'change',
    [
        lambda x, m: x,
        lambda x, m: x + 60 * (m == 1),  # contrast medium
        lambda x, m: x - 60 * (m == 1),  # fatty muscle
        lambda x, m: x + 40 * (m > 1),  # oedema
        lambda x, m: x + np.random.default_rng(0).normal(0, 50, x.shape),
        lambda x, m: x.clip(-160, 240),
        lambda x, m: np.where(x < -900, -3024, x),
    ],
)
def test_sound_sets_are_read_without_a_warning(phantoms, tmp_path, change):
    masks = load(phantoms, 'train_masks').astype(np.int16)
    folder = with_changes(phantoms, tmp_path, images=lambda x: change(x, masks))
    assert warnings_of(folder) == [[], []]


def test_a_sound_thoracic_set_is_read_without_a_warning(phantoms, tmp_path):
    for split in ('train', 'val'):
        replace(tmp_path, f'{split}_images', load(phantoms, f'{split}_images'))
        replace(tmp_path, f'{split}_masks', without(3)(load(phantoms, f'{split}_masks')))
    config = dataclasses.replace(CONFIG, network=UNetConfig(thoracic_model=True))
    assert warnings_of(tmp_path, config) == [[], []]


@needs_shared_data
def test_real_ct_is_read_without_a_warning():
    assert warnings_of(SHARED_DATA / 'abdomen_npy', SegmentationConfig()) == [[], []]


def test_without_the_window_grey_values_are_wanted(phantoms, tmp_path):
    config = dataclasses.replace(CONFIG, network=UNetConfig(apply_window_function=False))
    with pytest.raises(InputError, match=r'are not grey values in 0\.\.255; .*--apply_window'):
        open_and_validate(phantoms, config)
    for split in ('train', 'val'):
        images = grey(load(phantoms, f'{split}_images')).astype(np.uint8)
        replace(tmp_path, f'{split}_images', images)
        replace(tmp_path, f'{split}_masks', load(phantoms, f'{split}_masks'))
    assert warnings_of(tmp_path, config) == [[], []]
    assert open_sets(tmp_path, config)[1].read([3])['image'].tolist() == images[3:, ..., 0].tolist()
    replace(tmp_path, 'train_masks', load(phantoms, 'train_masks').swapaxes(1, 2))
    in_train, _ = warnings_of(tmp_path, config)
    assert 'grey values of their tissue: ' in in_train[0]
    replace(tmp_path, 'train_images', load(tmp_path, 'train_images') / np.float32(255))
    with pytest.raises(InputError, match='values from 0 to 1 are not grey values'):
        open_and_validate(tmp_path, config)


@pytest.mark.parametrize('dtype', [np.int16, np.float32])
def test_training_images_for_validation_are_refused(phantoms, tmp_path, dtype):
    folder = with_changes(phantoms, tmp_path)
    images = load(phantoms, 'val_images').astype(dtype)
    images[2] = load(phantoms, 'train_images')[5]
    replace(folder, 'val_images', images)
    message = r'val_images\.npy: slice 2 is also slice 5 in .*train_images\.npy.* 1 of 4 slices'
    with pytest.raises(InputError, match=message):
        open_and_validate(folder)


def test_uniform_slices_may_be_in_both_splits(phantoms, tmp_path):
    folder = with_changes(phantoms, tmp_path, images=first_slices(-1000))
    replace(folder, 'val_images', first_slices(-1000)(load(phantoms, 'val_images')))
    open_and_validate(folder)


def test_a_change_during_a_run_is_an_error_but_not_a_touch(phantoms, tmp_path):
    folder = with_changes(phantoms, tmp_path)
    train_set, _ = open_sets(folder, CONFIG)
    train_set.validate()
    before = train_set.fingerprint()
    os.utime(folder / 'train_images.npy', ns=(1, 1))
    train_set.refuse_changes()
    images = load(folder, 'train_images')
    images[1, 0, 0] += 1  # not among the rows of the sample
    replace(folder, 'train_images', images)
    with pytest.raises(RunError, match=r'train_images\.npy: other content .*--allow_data_change'):
        train_set.refuse_changes()
    assert train_set.fingerprint() == before
    (folder / 'train_masks.npy').write_bytes(b'')
    with pytest.raises(RunError, match=r'train_masks\.npy: not a readable .*--allow_data_change'):
        train_set.refuse_changes()


def test_a_disk_that_fails_during_a_run_is_not_a_change_of_the_data(
    phantoms, tmp_path, monkeypatch
):
    folder = with_changes(phantoms, tmp_path)
    train_set, _ = open_sets(folder, CONFIG)
    train_set.validate()
    os.utime(folder / 'train_images.npy', ns=(1, 1))

    def fail(*_):
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(os, 'preadv', fail)
    with pytest.raises(RunError, match=r'npy: cannot be read \(Input/output error') as caught:
        train_set.refuse_changes()
    assert 'The data changed' not in str(caught.value)


PEAK_MEMORY = """
import resource, sys
import numpy as np
from bodycomp_jax.config import SegmentationConfig
from bodycomp_jax.data.batches import ReadAhead, training_batches
from bodycomp_jax.data.segmentation import open_sets

train_set, _ = open_sets(sys.argv[1], SegmentationConfig(), check_values=False)
train_set.validate()
batches = training_batches(len(train_set), 16, len(train_set) // 16, seed=0, epoch=1)[:50]
for batch in ReadAhead(train_set.read, batches):
    del batch
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_sparse(path, shape, dtype):
    """A file of zeros that uses no disk space."""
    np.lib.format.open_memmap(path, mode='w+', dtype=dtype, shape=shape).flush()


def fingerprints(data_dir):
    for dataset in open_sets(data_dir, CONFIG, check_values=False):
        dataset.validate()
        yield dataset.fingerprint()


def test_fingerprints_are_those_of_older_runs(data_dir):
    images = np.arange(20 * 64).reshape(20, 8, 8, 1) * 7 % 2000 - 1000
    replace(data_dir, 'train_images', np.asfortranarray(images.astype('>i4')))
    replace(data_dir, 'train_masks', (images % 4).astype(np.uint8))
    shape = [20, 8, 8, 1]
    images = {'shape': shape, 'dtype': '>i4', 'bytes': 5120, 'fingerprint': 922336711}
    masks = {'shape': shape, 'dtype': '|u1', 'bytes': 1280, 'fingerprint': 3153738566}
    found, _ = fingerprints(data_dir)
    assert images.items() < found.pop('images').items()
    assert masks.items() < found.pop('masks').items()
    assert not found


def test_the_checksums_have_all_slices_in_chunks_of_8_mib_of_masks(tmp_path):
    masks = np.random.default_rng(0).integers(0, 4, (3, 2048, 2048), np.uint8)
    images = masks.astype(np.int16)
    write_split(tmp_path, 'train', zip(images, masks, strict=True))
    dataset = SegmentationSet(*open_files(tmp_path, 'train'), TISSUES, check_values=False)
    dataset.validate()
    for name, array in (('masks', masks), ('images', images)):
        chunks = struct.pack('<2I', zlib.crc32(array[:2]), zlib.crc32(array[2:]))
        assert dataset.fingerprint()[name]['checksum'] == zlib.crc32(chunks)


def test_every_slice_is_in_the_fingerprint(data_dir):
    n = 31  # every second row is sampled
    images, masks = np.zeros((n, 8, 8), np.int16), np.zeros((n, 8, 8), np.uint8)

    def found():
        write_split(data_dir, 'train', zip(images, masks, strict=True))
        return next(fingerprints(data_dir))

    before = found()
    for name, array in (('masks', masks), ('images', images)):
        array[15, 3, 3] = 1
        changed = found()
        assert changed[name].pop('checksum') != before[name].pop('checksum')
        assert changed[name] == before[name]
        before = found()


def test_memory_does_not_grow_with_the_set(tmp_path):
    peaks = []
    for n in (100, 1000):
        folder = tmp_path / str(n)
        folder.mkdir()
        for split, slices in (('train', n), ('val', 4)):
            write_sparse(folder / f'{split}_images.npy', (slices, 512, 512), np.int16)
            write_sparse(folder / f'{split}_masks.npy', (slices, 512, 512), np.uint8)
        done = subprocess.run(
            [sys.executable, '-c', PEAK_MEMORY, folder], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout) / 1024)  # MB
    assert peaks[1] < peaks[0] + 50
