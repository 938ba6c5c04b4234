import pytest

from bodycomp_jax.data.slices_table import read_slices_table
from bodycomp_jax.errors import InputError

LENGTHS = {'train': 2, 'val': 1}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'slices.csv')


def read(path, *rows, header='split,row,patient'):
    with open(path, 'w') as file:
        file.writelines(f'{line}\n' for line in (header, *rows))
    return read_slices_table(path, LENGTHS)


def test_rows_come_in_the_order_of_the_arrays(path):
    table = read(path, 'val,0,c', ' train ,1,b', 'test,0,d', 'train, 0,a')
    assert table.names_in('patient') == ['a', 'b', 'c']
    table = read(path, 'train,0,a', 'test,0,', 'val,0,', 'train,1,b')
    with pytest.raises(InputError, match='row 2 names no patient'):
        table.names_in('patient')


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        (['train,0,a', 'val,0,c'], r'no row for slice 1 of 2 of train; write the columns'),
        (['train,0,a', 'train,1,a', 'train,1,b'], 'rows 1 and 2 are both of slice 1 of train'),
        (['train,2,a'], r"row 0, column row: '2' is no slice of train, which has 2, from 0 to 1"),
        (['train,-1,a'], "row 0, column row: '-1' is no slice"),
        (['train,0.0,a'], "row 0, column row: '0.0' is no slice"),
        ([f'train,{"9" * 5000},a'], "row 0, column row: '9{20}' is no slice"),
        (['Train,0,a'], 'no row for slice 0 of 2 of train'),
    ],
)
def test_each_slice_must_have_one_row(path, rows, message):
    with pytest.raises(InputError, match=rf'slices\.csv: {message}'):
        read(path, *rows)


@pytest.mark.parametrize('column', ['split', 'row'])
def test_a_missing_column_is_named(path, column):
    header = 'split,row,patient'.replace(column, 'x')
    with pytest.raises(InputError, match=f"no column {column} among .*'x'.*; write the columns"):
        read(path, 'train,0,a', header=header)


def test_a_missing_table_is_described(path):
    with pytest.raises(
        InputError, match=r'slices\.csv: no such table, which says whose slices these are'
    ):
        read_slices_table(path, LENGTHS)
