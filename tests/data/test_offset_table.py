import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data

from bodycomp_jax.data.offset_table import (
    doubtful_offsets,
    read_offsets,
    refuse_impossible_offsets,
)
from bodycomp_jax.data.table import read_table
from bodycomp_jax.errors import InputError

N = 12
MM = 10.0 * np.arange(N) - 55


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'train.csv')


def written(path, encoding='utf-8', separator=',', **columns):
    """Writes a table with the offsets MM, unless the columns have others."""
    columns = {'ZOffset_L3': MM, **columns}
    lines = [columns, *zip(*columns.values(), strict=True)]
    with open(path, 'w', encoding=encoding) as file:
        file.writelines(separator.join(map(str, line)) + '\n' for line in lines)
    return path


def read(path, levels=('L3',), **options):
    return read_offsets(read_table(path), levels, **options)


def doubts(path, levels=('L3',)):
    return ' '.join(doubtful_offsets(read(path, levels), near=30))


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_offsets_and_series(path, encoding):
    table = read(written(path, encoding, series=['b', 'a', 'ü'] * 4))
    np.testing.assert_array_equal(table.offsets[:, 0], MM)
    assert {name: rows.tolist() for name, rows in table.series.items()} == {
        'b': [0, 3, 6, 9], 'a': [1, 4, 7, 10], 'ü': [2, 5, 8, 11],
    }  # fmt: skip
    assert list(table.series) == ['b', 'a', 'ü']
    assert table.names_series
    assert not read(written(path)).names_series


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('series ZOffset\na 1\n', "among 'series ZOffset'; .* separate columns by commas"),
        ('series,zoffset\na,1\n', "no column ZOffset_L3 .*'zoffset'; rename the column"),
        ('series,ZOffset_L1\na,1\n', "among .*'ZOffset_L1'; name the levels .* --levels"),
        ('series,ZOffset\na,"1,5"\n', "invalid offset '1,5': expected a number of mm such as"),
        ('series,ZOffset\na,1_5\n', "invalid offset '1_5': expected a number of mm such as"),
        ('series,ZOffset\n,1\n', 'row 0 names no series'),
        ('series,ZOffset\na,1\nNaN,1\n', 'row 1 names no series'),
        ('Series,ZOffset\na,1\n', "the column 'Series' is not read; rename it to series"),
        ('series,series,ZOffset\na,b,1\n', '2 columns have the name series; keep one'),
        ('ZOffset,ZOffset\n1,1\n', '2 columns have the name ZOffset; keep one'),
    ],
)
def test_other_tables_are_refused_with_what_is_wanted(path, content, message):
    with open(path, 'w') as file:
        file.write(content)
    with pytest.raises(InputError, match=rf'train\.csv: .*{message}'):
        read(path)


def test_spaces_around_names_do_not_count(path):
    with open(path, 'w') as file:
        file.write('series, ZOffset_L3\na,1\na ,2\n b,3\n')
    table = read(path)
    assert table.offsets[:, 0].tolist() == [1, 2, 3]
    assert {name: rows.tolist() for name, rows in table.series.items()} == {'a': [0, 1], 'b': [2]}


NAMES = [f'{i:06d}.png' for i in range(N)]
SHUFFLED = [0, 1, 2, 4, 3, *range(5, N)]


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        ('filename', [NAMES[i] for i in SHUFFLED]),
        ('x', [f'images/train/{NAMES[i]}' for i in SHUFFLED]),
        ('x', [f'D:\\images\\{NAMES[i]}' for i in SHUFFLED]),
        ('x', [NAMES[i][:6] for i in SHUFFLED]),
        ('x', NAMES[::-1]),
        ('', SHUFFLED),
        ('x', [i + 1 for i in SHUFFLED]),
        ('x', [float(i) for i in SHUFFLED]),
        ('index', range(N)[::-1]),
    ],
)
def test_rows_in_another_order_than_the_pictures_are_refused(path, name, values):
    written(path, **{name: list(values)})
    with pytest.raises(InputError, match=rf'row [03] is of picture .* its column {name!r} says'):
        read(path)
    assert len(read(path, check_values=False).offsets) == N


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        ('filename', NAMES),
        ('', range(N)),
        ('index', range(1, N + 1)),
        ('slice', range(N)[::-1]),  # of the scan, not of the pictures
        ('slice', [0, 1, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15]),
        ('slice', [*range(6), *range(6)]),
        ('original', [f'{i:06d}.png' for i in range(20, 20 + N)]),
        ('patient', [7] * N),
        ('slice', [f'{i:03d}' for i in range(N)[::-1]]),
        ('series', SHUFFLED),  # scans of a single slice
    ],
)
def test_other_columns_may_have_any_order(path, name, values):
    read(written(path, **{name: list(values)}))


def test_numbers_of_a_few_rows_may_mean_anything(path):
    with open(path, 'w') as file:
        file.write('sex,ZOffset\n0,-30\n2,0\n1,30\n')
    read(path)
    with open(path, 'w') as file:
        file.write('picture,ZOffset\n0,-30\n2,0\n1,30\n')
    with pytest.raises(InputError, match=r"row 1 is of picture .* 'picture' says '2'"):
        read(path)


def test_many_series_are_read(path):
    n = 20_000
    names = [f's{i % (n // 10)}' for i in range(n)]
    table = read(written(path, ZOffset_L3=np.arange(n) % 100, series=names))
    assert len(table.series) == n // 10
    assert all((np.diff(rows) == n // 10).all() for rows in table.series.values())


@pytest.mark.parametrize(
    ('offsets', 'message'),
    [
        (np.zeros(N), 'level L3: the slices of a series all have the same offset, such as 0 mm'),
        (np.repeat([-5.0, 5.0], N // 2), 'the slices of a series all have the same offset'),
        (np.arange(1, N + 1), r'the offsets are \+1 to \+12 mm: no scan shows the level'),
        (-np.arange(1, N + 1), r'the offsets are -12 to -1 mm: no scan shows the level'),
    ],
)
def test_impossible_offsets_are_refused(path, offsets, message):
    series = ['a'] * (N // 2) + ['b'] * (N // 2)
    table = read(written(path, ZOffset_L3=offsets, series=series))
    with pytest.raises(InputError, match=rf'train\.csv: .*{message}'):
        refuse_impossible_offsets(table, is_training=True)


def test_offsets_from_a_lower_level_are_larger(path):
    written(path, ZOffset_L1=MM - 20, ZOffset_T12=MM - 40)
    read(path, ('L3', 'T12', 'L1'))
    written(path, ZOffset_L1=MM + 20)
    message = r'row 0: -35\.0 mm from L1, but -55\.0 mm from L3, which is lower'
    with pytest.raises(InputError, match=message):
        read(path, ('L3', 'L1'))
    read(path, ('L3', 'L1'), check_values=False)
    read(written(path, ZOffset_x=MM), ('L3', 'x'))


def test_sound_offsets_raise_no_doubt(path):
    assert doubts(written(path)) == ''
    assert doubts(written(path, ZOffset_L3=MM[::-1])) == ''
    assert doubts(written(path, ZOffset_L3=np.tile(MM[::2], 2))) == ''  # two scans, not named


def test_improbable_offsets_are_said(path):
    shuffled = np.random.default_rng(0).permutation(MM)
    assert "in 1 of 1 series, such as 'all slices', the offsets go up and down" in doubts(
        written(path, ZOffset_L3=shuffled)
    )
    assert 'half of the series are at most 0.11 mm long; check the unit' in doubts(
        written(path, ZOffset_L3=MM / 1000)
    )
    assert 'no slice is below L3: offsets are distances with a sign' in doubts(
        written(path, ZOffset_L3=abs(MM - MM[3]))
    )
    said = doubts(written(path, ZOffset_L3=MM + 200))
    assert 'no series has slices on both sides of L3 (offsets +145 to +255 mm)' in said
    assert 'no slice is within 30 mm of L3: its offset error is nan' in said


@needs_shared_data
@pytest.mark.parametrize('split', ['train', 'val'])
def test_real_tables_raise_no_doubt(split):
    path, levels = str(SHARED_DATA / f'spine_png/meta/{split}.csv'), ('L3', 'L1')
    refuse_impossible_offsets(read(path, levels), split == 'train')
    assert doubts(path, levels) == ''
