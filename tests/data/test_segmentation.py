import dataclasses
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from bodycomp_jax.config import SegmentationConfig, UNetConfig
from bodycomp_jax.data.segmentation import SegmentationSet, open_sets, write_split
from bodycomp_jax.errors import InputError

CONFIG = SegmentationConfig(
    network=UNetConfig(compression_channels=(2, 4), decompression_channels=(2,)), batch_size=4
)


@pytest.fixture
def data_dir(tmp_path):
    """Six training and three validation slices of 8 x 8, and their labels."""
    rng = np.random.default_rng(0)
    for split, n in (('train', 6), ('val', 3)):
        np.save(tmp_path / f'{split}_images.npy', rng.integers(-1024, 2000, (n, 8, 8, 1), np.int16))
        np.save(tmp_path / f'{split}_masks.npy', rng.integers(0, 4, (n, 8, 8, 1), np.uint8))
    return tmp_path


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
    batch = SegmentationSet(tmp_path, 'val', ('a', 'b', 'c')).read([0, 1, 2])
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
    train_set, _ = open_sets(data_dir, CONFIG)
    train_set.validate()
    line = train_set.describe()
    assert line.startswith('6 slices of 8 x 8, images int16, masks uint8: ')
    assert 'background 50.0%, muscle 50.0%, subcutaneous fat 0.0%, visceral fat 0.0%' in line


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
    with pytest.raises(InputError, match=r'labels must be 0\.\.2; visceral fat \(3\)'):
        open_and_validate(data_dir, config)


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
    with pytest.raises(InputError, match='6 training slices are fewer than one batch of 16'):
        open_sets(data_dir, dataclasses.replace(CONFIG, batch_size=16))


def test_errors_for_missing_files_and_folders_name_them(data_dir):
    (data_dir / 'val_masks.npy').unlink()
    with pytest.raises(InputError, match=r'val_masks\.npy: cannot be opened'):
        open_sets(data_dir, CONFIG)
    shutil.rmtree(data_dir)
    with pytest.raises(InputError, match='no such folder'):
        open_sets(data_dir, CONFIG)


PEAK_MEMORY = """
import resource, sys
import numpy as np
from bodycomp_jax.config import SegmentationConfig
from bodycomp_jax.data.batches import ReadAhead, training_batches
from bodycomp_jax.data.segmentation import open_sets

train_set, _ = open_sets(sys.argv[1], SegmentationConfig())
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
    for dataset in open_sets(data_dir, CONFIG):
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
    assert found.pop('images') == images
    assert masks.items() < found.pop('masks').items()
    assert not found


def test_the_checksum_has_all_masks_in_chunks_of_8_mib(tmp_path):
    masks = np.random.default_rng(0).integers(0, 4, (3, 2048, 2048), np.uint8)
    write_split(tmp_path, 'train', ((mask.astype(np.int16), mask) for mask in masks))
    dataset = SegmentationSet(tmp_path, 'train', ('a', 'b', 'c'))
    dataset.validate()
    chunks = struct.pack('<2I', zlib.crc32(masks[:2]), zlib.crc32(masks[2:]))
    assert dataset.fingerprint()['masks']['checksum'] == zlib.crc32(chunks)


def test_every_mask_and_the_sampled_images_are_in_the_fingerprint(data_dir):
    n = 31  # every second row is sampled
    images, masks = np.zeros((n, 8, 8), np.int16), np.zeros((n, 8, 8), np.uint8)

    def found():
        write_split(data_dir, 'train', zip(images, masks, strict=True))
        return next(fingerprints(data_dir))

    before = found()
    masks[15, 3, 3] = 1
    changed = found()
    assert changed['masks'].pop('checksum') != before['masks'].pop('checksum')
    assert changed == before
    images[15] = 1
    assert found()['images'] == before['images']
    images[30] = 1
    assert found()['images'] != before['images']


def test_memory_does_not_grow_with_the_set(tmp_path):
    peaks = []
    for n in (100, 3000):
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
