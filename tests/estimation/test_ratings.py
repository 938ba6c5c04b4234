"""Ratings that people saved."""

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.ratings import identity, read_bad

HEADER = 'series,level,slice,z_mm,rating,comment\r\n'


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'ratings.csv'


def test_bad_cases_are_found_by_series_level_and_slice(path):
    path.write_text(HEADER + '1.2,L3,50,-3,bad,"a, b"\r\n1.3,L3,51,,good,\r\n1.4,L1,,,bad,\r\n')
    rows = [
        {'series': '1.2', 'level': 'L3', 'slice': 50},
        {'series': '1.4', 'level': 'L1', 'slice': None},
    ]
    assert read_bad(str(path)) == {identity(row) for row in rows}
    assert identity({'series': '1.2', 'level': 'L3', 'slice': 50.0}) == identity(rows[0])
    assert identity({'series': '1.2', 'level': 'L3', 'slice': '50'}) == identity(rows[0])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (
            'series,level\r\n1.2,L3\r\n',
            r'no column slice, rating, but series, level; give the file',
        ),
        (HEADER + '1.2,L3,50,,awful,\r\n', r"row 0: the rating is 'awful'; expected good, bad"),
        (HEADER, 'no rows'),
    ],
)
def test_other_files_are_refused(path, content, message):
    path.write_text(content)
    with pytest.raises(InputError, match=rf'ratings\.csv: {message}'):
        read_bad(str(path))
