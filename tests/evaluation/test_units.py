"""Whose slices these are."""

import pytest

from bodycomp_jax.data.table import read_table
from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.units import about_rows, units_of


def slices(**columns):
    rows = zip(*columns.values(), strict=True)
    return [
        {'split': 'val', 'row': str(i), **dict(zip(columns, row, strict=True))}
        for i, row in enumerate(rows)
    ]


def test_patients_go_before_series_and_these_before_slices():
    both = slices(patient=['a', 'a'], series=['1', '2'])
    assert units_of(both) == (['a', 'a'], 'patient')
    assert units_of(slices(series=['1', '2'])) == (['1', '2'], 'series')
    assert units_of(slices(z=['1', '2'])) == (['val 0', 'val 1'], 'slice')


def test_a_column_of_some_splits_alone_names_nobody():
    mixed = slices(patient=['a']) + slices(series=['1'])
    assert units_of(mixed)[1] == 'slice'


def test_a_slice_of_nobody_is_refused():
    with pytest.raises(InputError, match='slice 1 of val has no patient in its table'):
        units_of(slices(patient=['a', ' nan ']))


def test_what_a_table_says(tmp_path):
    path = tmp_path / 'slices.csv'
    path.write_text('row,patient,colour,z\n0, a ,red,1.5\n')
    assert about_rows(read_table(str(path))) == [{'patient': 'a', 'z': '1.5'}]
