"""The distance of the pixels of slices."""

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.spacing import read_spacing


def slices(*spacings):
    return [
        {'split': 'val', 'row': str(i), 'row_spacing': row, 'column_spacing': column}
        for i, (row, column) in enumerate(spacings)
    ]


def test_mm_of_the_table():
    found = read_spacing(slices(('0.5', '2'), ('1', '1')), None)
    assert (found.length, found.area) == ('mm', 'cm2')
    assert found.values.tolist() == [[0.5, 2], [1, 1]]
    assert found.pixel_area(0) == pytest.approx(0.01)


def test_the_flag_fills_what_the_table_lacks():
    found = read_spacing(slices(('0.5', '2'), ('', '')), 0.8)
    assert found.values.tolist() == [[0.5, 2], [0.8, 0.8]]
    assert 'where slices.csv has none' in found.source


def test_pixels_where_nothing_is_known():
    found = read_spacing([{'split': 'val', 'row': '0'}], None)
    assert (found.length, found.area, found.pixel_area(0)) == ('pixels', 'pixels', 1)
    assert 'distances and areas are in pixels' in found.source


@pytest.mark.parametrize('text', ['0', '-1', 'nan', 'inf', '1e9', 'wide', '0,78'])
def test_no_distance(text):
    with pytest.raises(InputError, match=r'slice 1 of val has the column_spacing .* give mm such'):
        read_spacing(slices(('1', '1'), ('1', text)), None)


def test_slices_without_a_distance_among_others():
    with pytest.raises(InputError, match=r'1 of 2 slices, such as slice 1 of val, .*--pixel_mm'):
        read_spacing(slices(('1', '1'), ('1', '')), None)
