import numpy as np
import pytest
from PIL import Image

from bodycomp_jax.config import SliceSelectionConfig, from_values
from bodycomp_jax.data import slice_selection
from bodycomp_jax.data.slice_selection import SliceSelectionSet, open_sets, write_split
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


def opened(folder, **changes):
    config = from_values(SliceSelectionConfig, {'batch_size': 2} | changes)
    return open_sets(folder, config, folder, untracked)


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
        (remove('images/train/000005.png'), r'5 pictures .* 6 rows'),
        (rewrite('ZOffset', 'Offset'), r"no column ZOffset_L3 or ZOffset among '', 'series', 'Off"),
        (rewrite('9.5,3', 'nan,3'), r"train\.csv: row 3, column ZOffset_L3: invalid offset 'nan'"),
        (rewrite('9.5,3', 'head,3'), r"invalid offset 'head': expected a number of mm"),
        (rewrite('9.5,3', '1e99,3'), r"row 3, column ZOffset_L3: invalid offset '1e99'"),
        (rewrite('9.5,3', '9.5'), 'row 3 has 3 values, but the header names 4'),
        (
            rewrite(HEADER, f'{HEADER}_L3'),
            '2 columns have the name ZOffset_L3',
        ),
        (lambda folder: table(folder, HEADER), 'no rows'),
        (lambda folder: table(folder, ''), 'no rows'),
        (lambda folder: (folder / 'meta/train.csv').write_bytes(b'\xff\xfe\0'), 'UTF-8'),
        (copy_a_slice, r'val/000001\.png: the same picture as .*train/000004\.png; 1 of 4'),
    ],
)
def test_errors_name_the_fault(folder, change, message):
    change(folder)
    with pytest.raises(InputError, match=message):
        validated(folder)


def test_uniform_slices_may_be_in_both_splits(folder):
    for name in ('train/000000', 'val/000000'):
        Image.new('L', (9, 9)).save(folder / f'images/{name}.png')
    validated(folder)


def test_fewer_slices_than_a_batch_are_refused(folder):
    with pytest.raises(InputError, match='6 training slices are fewer than one batch of 8'):
        opened(folder, batch_size=8)


def test_the_description_has_sizes_and_offsets(folder):
    line = validated(folder)[0].describe()
    assert (
        '6 slices of 32 x 48, resized to 256 x 256, in 2 series; offsets from L3 -20 to +30 mm'
        in line
    )


def test_opening_reads_no_picture(folder):
    (folder / 'images/train/000000.png').write_bytes(b'')
    train_set, _ = opened(folder)
    assert len(train_set) == 6
    with pytest.raises(InputError, match=r'train/000000\.png: not a PNG'):
        train_set.validate()


def test_a_written_split_is_read_back(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 256, 256), np.uint8)
    offsets = {'L1': [1, 2, 3], 'L3': np.array([-30, -29.94, -29])}
    write_split(tmp_path, 'val', iter(images), offsets, ['a', 'b', 'b'])
    dataset = SliceSelectionSet(tmp_path, 'val', ('L3', 'L1'), cache_dir=tmp_path, track=untracked)
    dataset.validate()
    batch = dataset.read(np.arange(3))
    np.testing.assert_array_equal(batch['image'], images)
    np.testing.assert_array_equal(batch['offset'], np.float32([[-30, 1], [-29.9, 2], [-29, 3]]))
    assert {name: rows.tolist() for name, rows in dataset.series.items()} == {'a': [0], 'b': [1, 2]}
