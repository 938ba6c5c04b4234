import errno
import os
import re

import numpy as np
import pytest
from PIL import Image

from bodycomp_jax.config import SliceSelectionConfig, from_values
from bodycomp_jax.data import slice_selection
from bodycomp_jax.data.png import write_png
from bodycomp_jax.data.slice_selection import SliceSelectionSet, open_sets, write_split
from bodycomp_jax.data.slice_selection_files import list_split
from bodycomp_jax.errors import InputError

N = {'train': 6, 'val': 4}
HEADER = ',series,ZOffset_L3,ZOffset'


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for split, n in N.items():
        (tmp_path / 'images' / split).mkdir(parents=True)
        (tmp_path / 'meta').mkdir(exist_ok=True)
        for i in range(n):
            pixels = rng.integers(0, 256, (32, 48), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f'images/{split}/{i:06d}.png')
        rows = [f'{i},{"ab"[i % 2]},{10 * i - 20.5},{i}' for i in range(n)]
        (tmp_path / f'meta/{split}.csv').write_text(
            '\n'.join([',series,ZOffset_L3,ZOffset', *rows])
        )
    return tmp_path


def untracked(items, count, title):
    return items


def opened(folder, *, check_values=True, **changes):
    config = from_values(SliceSelectionConfig, {'batch_size': 2} | changes)
    return open_sets(folder, config, folder, untracked, check_values=check_values)


def validated(folder, **changes):
    train_set, val_set = opened(folder, **changes)
    train_set.validate()
    val_set.validate()
    return train_set, val_set


def table(folder, text, split='train'):
    (folder / f'meta/{split}.csv').write_text(text)


def test_a_batch(folder):
    train_set, val_set = validated(folder)
    assert (len(train_set), len(val_set)) == (6, 4)
    batch = train_set.read(np.array([5, 0]))
    assert list(batch) == ['image', 'offset']
    assert (batch['image'].shape, batch['image'].dtype) == ((2, 256, 256), np.uint8)
    assert batch['offset'].tolist() == [[29.5], [-20.5]]
    assert not batch['image'][:, :38].any()  # what is not square has a black margin
    assert not batch['image'][:, -38:].any()
    assert batch['image'][:, 128].any()


def test_rows_are_grouped_by_series(folder):
    train_set, _ = opened(folder)
    assert {k: v.tolist() for k, v in train_set.series.items()} == {'a': [0, 2, 4], 'b': [1, 3, 5]}
    text = (folder / 'meta/train.csv').read_text()
    table(folder, text.replace('series', 'other'))
    train_set, _ = opened(folder)
    assert [rows.tolist() for rows in train_set.series.values()] == [[0, 1, 2, 3, 4, 5]]


def test_the_column_of_a_single_level_may_be_zoffset(folder):
    for split in N:
        text = (folder / f'meta/{split}.csv').read_text()
        table(folder, text.replace('ZOffset_L3', 'x'), split)
    train_set, _ = opened(folder)
    assert train_set.offsets[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(InputError, match='no column ZOffset_L3 among'):
        opened(folder, levels=('L3', 'L1'))


def test_an_unlinked_file_holds_a_large_set(folder, monkeypatch):
    in_memory = validated(folder)[0].read(np.arange(6))['image']
    before = sorted(folder.iterdir())
    monkeypatch.setattr(slice_selection, 'LARGE', 1)
    train_set, _ = validated(folder)
    assert isinstance(train_set._slices, np.memmap)
    np.testing.assert_array_equal(train_set.read(np.arange(6))['image'], in_memory)
    assert sorted(folder.iterdir()) == before


def test_the_fingerprint_depends_on_the_content(folder):
    one = validated(folder)[0].fingerprint()
    assert validated(folder)[0].fingerprint() == one
    pixels = np.asarray(Image.open(folder / 'images/train/000003.png')).copy()
    pixels[0, 0] ^= 255
    Image.fromarray(pixels).save(folder / 'images/train/000003.png')
    other = validated(folder)[0].fingerprint()
    assert other['images'] != one['images']
    assert other['offsets'] == one['offsets']


def remove(name):
    return lambda folder: (folder / name).unlink()


def rewrite(old, new):
    def change(folder):
        table(folder, (folder / 'meta/train.csv').read_text().replace(old, new))

    return change


def capitals(folder):
    for path in (folder / 'images/train').iterdir():
        path.rename(path.with_suffix('.PNG'))


def copy_a_slice(folder):
    data = (folder / 'images/train/000004.png').read_bytes()
    (folder / 'images/val/000001.png').write_bytes(data)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            remove('meta/val.csv'),
            r'val\.csv: no such table; .*meta contains train',
        ),
        (remove('images/train/000002.png'), r'train: 000002\.png is missing among 5'),
        (
            remove('images/train/000005.png'),
            r'5 pictures \(NNNNNN\.png, the ending in small letters\), .* 6 rows',
        ),
        (rewrite('ZOffset', 'Offset'), r"no column ZOffset_L3 or ZOffset among '', 'series', 'Off"),
        (rewrite('9.5,3', 'nan,3'), r"train\.csv: row 3, column ZOffset_L3: invalid offset 'nan'"),
        (rewrite('9.5,3', 'head,3'), r"invalid offset 'head': expected a number of mm"),
        (rewrite('9.5,3', '1e99,3'), r"row 3, column ZOffset_L3: invalid offset '1e99'"),
        (rewrite('9.5,3', '9.5'), 'row 3 has 3 values, but the first line, the header, names 4'),
        (
            rewrite(HEADER, f'{HEADER}_L3'),
            '2 columns have the name ZOffset_L3',
        ),
        (lambda folder: table(folder, HEADER), 'no rows'),
        (lambda folder: table(folder, ''), r'train\.csv: not a table, but an empty file'),
        (capitals, r'train: no pictures named 000000\.png.*train contains 000000\.PNG, 000001'),
        (lambda folder: (folder / 'meta/train.csv').write_bytes(b'\xff\xfe\0'), 'UTF-8'),
        (copy_a_slice, r'val/000001\.png: the same picture as .*train/000004\.png; 1 of 4'),
    ],
)
def test_errors_name_the_fault(folder, change, message):
    change(folder)
    with pytest.raises(InputError, match=message):
        validated(folder)


def test_uniform_slices_may_be_in_both_splits(folder):
    bright = np.full((9, 30), 200, np.uint8)
    almost_black = np.zeros((2048, 2048), np.uint8)
    almost_black[7, 7] = 1
    for pixels in (np.zeros((9, 9), np.uint8), bright, almost_black):
        for name in ('train/000000', 'val/000000'):
            write_png(folder / f'images/{name}.png', pixels)
        validated(folder)


def repaint(change, split='train'):
    def apply(folder):
        for path in (folder / 'images' / split).iterdir():
            write_png(path, change(np.asarray(Image.open(path))))

    return apply


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (repaint(lambda x: x * 0), r'images/train: each picture has a single grey value; map HU'),
        (
            repaint(lambda x: x // 64),
            r'no pixel is brighter than 3; map HU with the window 40/400 to 0\.\.255\. If',
        ),
        (copy_a_slice, 'the same picture'),
        (
            lambda folder: table(folder, 'ZOffset' + '\n0' * 6),
            'level L3: the slices of a series all',
        ),
        (lambda folder: table(folder, 'ZOffset' + '\n0' * 4, 'val'), r'val\.csv: level L3: the sl'),
    ],
)
def test_what_cannot_be_right_is_refused_unless_it_is_not_checked(folder, change, message):
    change(folder)
    with pytest.raises(InputError, match=rf'{message}.*give --nocheck_values'):
        validated(folder)
    for dataset in opened(folder, check_values=False):
        dataset.validate()
        assert dataset.warnings() == []


def test_what_is_improbable_is_said(folder):
    rows = [f'{name},{mm}' for name, mm in zip('aaab', (50, 60, 70, 80), strict=True)]
    table(folder, '\n'.join(['series,ZOffset', *rows]), 'val')
    write_png(folder / 'images/val/000001.png', np.zeros((9, 9), np.uint8))
    inverted = repaint(lambda x: np.where(x < 200, 255, np.minimum(x, 254)).astype(np.uint8))
    inverted(folder)
    in_train, in_val = (dataset.warnings() for dataset in validated(folder))
    assert [re.sub(r'^\S+: ', '', text) for text in in_train] == [
        'more pixels are white than black; air must be 0 and bone 255 (window 40/400)'
    ]
    assert [re.sub(r'^\S+: ', '', text) for text in in_val] == [
        'no series has slices on both sides of L3 (offsets +50 to +80 mm): its position error is '
        'nan',
        'no slice is within 30 mm of L3: its offset error is nan',
        'a single grey value, as in 1 of 4 slices; leave them out',
        "2 series, such as 'a', are training series as well; validate on other patients",
    ]


def test_pictures_cropped_to_the_body_raise_no_doubt(folder):
    repaint(lambda x: np.maximum(x, 90))(folder)
    assert validated(folder)[0].warnings() == []


def test_pictures_in_memory_do_not_change(folder):
    train_set, _ = validated(folder)
    before = train_set.read(np.arange(6))['image'].copy()
    repaint(lambda x: x * 0)(folder)
    train_set.refuse_changes()
    np.testing.assert_array_equal(train_set.read(np.arange(6))['image'], before)


def test_a_smaller_split_replaces_a_larger_one(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    write_split(tmp_path, 'train', images, {'L3': np.arange(-2.0, 3)})
    for name in ('notes.txt', '7.png', '000009.png.bak'):
        (tmp_path / 'images/train' / name).touch()
    write_split(tmp_path, 'val', images, {'L3': np.arange(-2.0, 3)})
    write_split(tmp_path, 'train', images[:2], {'L3': [-1.0, 1.0]})
    assert sorted(path.name for path in (tmp_path / 'images/train').iterdir()) == [
        '000000.png', '000001.png', '000009.png.bak', '7.png', 'notes.txt',
    ]  # fmt: skip
    assert len(list((tmp_path / 'images/val').iterdir())) == 5


def test_a_folder_that_cannot_be_read_is_named_with_the_cause(folder, monkeypatch):
    def fail(_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, 'listdir', fail)
    with pytest.raises(
        InputError, match=r'images/train: cannot be read .Permission denied; change'
    ):
        opened(folder)
    (folder / 'meta/train.csv').unlink()
    with pytest.raises(InputError, match=r'its folder .*meta: Permission denied; change'):
        opened(folder)


def test_fewer_slices_than_a_batch_are_refused(folder):
    with pytest.raises(InputError, match='6 training slices are fewer than the 8 of one batch'):
        opened(folder, batch_size=8)


def test_the_description_has_sizes_and_offsets(folder):
    line = validated(folder)[0].describe()
    assert (
        '6 slices of 32 x 48, resized to 256 x 256, in 2 series; grey values 0 to 255; offsets '
        'from L3 -20 to +30 mm' in line
    )


def test_opening_reads_no_picture(folder):
    (folder / 'images/train/000000.png').write_bytes(b'')
    train_set, _ = opened(folder)
    assert len(train_set) == 6
    with pytest.raises(InputError, match=r'train/000000\.png: not a PNG'):
        train_set.validate()


def test_a_written_split_is_read_back(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 256, 256), np.uint8)
    offsets = {'L1': [-98, -97, -96], 'L3': np.array([-30, -29.94, -29])}
    write_split(tmp_path, 'val', iter(images), offsets, ['a', 'b', 'b'])
    pictures = list_split(tmp_path, 'val', ('L3', 'L1'))
    dataset = SliceSelectionSet(pictures, is_training=False, cache_dir=tmp_path, track=untracked)
    dataset.validate()
    batch = dataset.read(np.arange(3))
    np.testing.assert_array_equal(batch['image'], images)
    np.testing.assert_array_equal(
        batch['offset'], np.float32([[-30, -98], [-29.9, -97], [-29, -96]])
    )
    assert {name: rows.tolist() for name, rows in dataset.series.items()} == {'a': [0], 'b': [1, 2]}
