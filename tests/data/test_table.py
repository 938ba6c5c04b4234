import os

import pytest

from bodycomp_jax.data.table import read_table, rows_by_name, write_table
from bodycomp_jax.errors import InputError


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'table.csv')


def written(path, content, encoding='utf-8'):
    with open(path, 'w', encoding=encoding) as file:
        file.write(content)
    return path


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_columns_are_found_by_their_names(path, encoding):
    table = read_table(written(path, 'patient , row\n ü,1\n\n"b,c",2\n', encoding))
    assert table.header == ['patient', 'row']
    assert table.rows == [[' ü', '1'], ['b,c', '2']]
    assert table.position('row') == 1
    assert table.first_of(('series', 'row', 'patient')) == 'row'
    assert table.first_of(('series',)) is None
    assert table.names_in('patient') == ['ü', 'b,c']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('series;x\na;1,5\n', 'separated by semicolons; save it with commas'),
        ('series\tx\na\t1\n', 'separated by tabs'),
        ('series|x\na|1\n', 'separated by bars'),
        ('sep=;\nseries;x\na;1\n', "begins with 'sep=;'; remove this line"),
        ('sep=,\nseries,x\na,1\n', "begins with 'sep=,'; remove this line"),
        ('series,x\na,1,5\n', 'row 0 has 3 values, .* write 1.5, not 1,5'),
        ('# 2 scans\nseries,x\na,1\n', r'header, names 1 columns \(# 2 scans\)'),
        ('series,x\n"a,1\nb,2\n', r'at line 3 .*; check that each quote \("\)'),
        ('<!DOCTYPE html>\n<html>\n', 'not a table, but a web page, .*; download the file'),
        ('PK\x03\x04', 'not a table, but a ZIP archive .*; save it as CSV in UTF-8'),
        ('', 'not a table, but an empty file'),
        ('series,x\n', 'no rows; write them below the header'),
    ],
)
def test_other_files_are_refused_with_what_is_wanted(path, content, message):
    with pytest.raises(InputError, match=rf'table\.csv: .*{message}'):
        read_table(written(path, content))


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'latin-1'])
def test_other_encodings_are_refused(path, encoding):
    with pytest.raises(InputError, match='save it as UTF-8'):
        read_table(written(path, 'series\nü\n', encoding))


def test_a_pipe_is_refused_at_once(path):
    os.mkfifo(path)
    with pytest.raises(InputError, match=r'table\.csv: not a regular file'):
        read_table(path)


@pytest.mark.parametrize('name', ['', ' ', 'NaN', 'None', '<NA>'])
def test_each_row_must_name_something(path, name):
    table = read_table(written(path, f'patient,x\na,1\n{name},2\n'))
    with pytest.raises(InputError, match=r'table\.csv: row 1 names no patient; fill the column'):
        table.names_in('patient')


def test_two_columns_of_one_name_are_refused(path):
    table = read_table(written(path, 'a,a\n1,2\n'))
    with pytest.raises(InputError, match='2 columns have the name a; keep one'):
        table.position('a')


def test_rows_are_grouped_in_the_order_of_their_names():
    rows = rows_by_name(['b', 'a', 'b'])
    assert {name: of.tolist() for name, of in rows.items()} == {'b': [0, 2], 'a': [1]}
    assert list(rows) == ['b', 'a']


@pytest.mark.parametrize(
    'text', ['a\x85b', 'a\x0bb', 'a\x0cb', 'a\u2028b', 'a\nb', 'a\r\nb', 'a\rb', '\r', '"', ',']
)
def test_what_is_written_is_read(path, text):
    write_table(str(path), [{'name': text, 'other': '1'}])
    table = read_table(str(path))
    assert table.header == ['name', 'other']
    assert table.rows == [[text, '1']]
