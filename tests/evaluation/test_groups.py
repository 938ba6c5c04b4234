"""Subgroups by the columns of a table."""

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.groups import read_groups

UNITS = [f'P{i}' for i in range(20)]


def read(folder, lines, unit='patient', units=UNITS):
    path = folder / 'groups.csv'
    path.write_text('\n'.join(lines) + '\n')
    return read_groups(str(path), units, unit)


def test_values_are_groups_and_many_numbers_are_halved(tmp_path):
    lines = ['patient,sex,age,grade,note']
    lines += [f'P{i},{"FM"[i % 2]},{40 + i},{10 - i % 3},text {i}' for i in range(20)]
    groups = read(tmp_path, lines)
    assert list(groups.of) == ['sex', 'age', 'grade']
    assert groups.of['sex']['F'].tolist() == list(range(0, 20, 2))
    assert list(groups.of['age']) == ['up to 49.5', 'above 49.5']
    assert groups.of['age']['above 49.5'].tolist() == list(range(10, 20))
    assert list(groups.of['grade']) == ['8', '9', '10']
    assert 'the column note has 20 different values' in groups.left_out[0]


def test_units_without_a_row_or_a_value_are_a_group(tmp_path):
    lines = ['patient,sex', *(f'P{i},{"F" if i else "nan"}' for i in range(19))]
    groups = read(tmp_path, lines)
    assert groups.of['sex']['not given'].tolist() == [0, 19]
    assert 'has no row for 1 of 20: P19' in groups.left_out[0]


def test_series_are_named_by_either_column(tmp_path):
    lines = ['SeriesInstanceUID,kernel', *(f'P{i},soft' for i in range(20))]
    assert read(tmp_path, lines, 'series').of['kernel']['soft'].size == 20


@pytest.mark.parametrize(
    ('lines', 'unit', 'message'),
    [
        (['name,sex', 'P0,F'], 'patient', "no column patient, but 'name', 'sex'; name the patient"),
        (['patient,sex', 'P0,F', 'P0,M'], 'patient', "rows 0 and 1 are both of 'P0'; keep one"),
        (['patient,sex', 'Q0,F'], 'patient', "names none of the 20 patient names .* 'P0'"),
        (['patient,sex,sex', 'P0,F,F'], 'patient', '2 columns have the name sex'),
        (['patient,sex', 'P0,F'], 'slice', 'do not say of which patient a slice is'),
    ],
)
def test_other_tables_are_refused(tmp_path, lines, unit, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, lines, unit)
