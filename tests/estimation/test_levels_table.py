"""Tables of positions."""

import dataclasses

import fake_scans
import numpy as np
import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.levels_table import read_levels_table

SERIES = fake_scans.series(np.arange(0, 50, 5), name='S1')


def table(folder, *lines):
    (folder / 'levels.csv').write_text('\n'.join(lines))
    return read_levels_table(str(folder / 'levels.csv'))


def test_positions_are_in_mm_or_those_of_a_file(tmp_path):
    found = table(tmp_path, 'series,level,z_mm,file', 'S1,L3,12.5,2.dcm', 'S1,T12,,old/7.dcm')
    assert found.levels == ['L3', 'T12']
    assert found.positions(SERIES) == {'L3': 12.5, 'T12': 35.0}
    assert found.positions(fake_scans.series([0.0], name='S2')) == {}


def test_only_measured_levels_of_results_are_taken(tmp_path):
    rows = 'status,series,level,z_mm', 'measured,S1,L3,10', 'in_slab,S1,L3,15', 'failed,S1,T12,'
    assert table(tmp_path, *rows).positions(SERIES) == {'L3': 10.0}


def test_a_name_is_of_no_series_without_a_uid(tmp_path):
    found = table(tmp_path, 'series,level,z_mm', 'S1,L3,10', 'S9,L3,20')
    scan = dataclasses.replace(SERIES, uid='')
    assert found.positions(scan) == {'L3': 10.0}
    assert found.names_without([scan]) == ['S9']


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (('series,z_mm', 'S1,1'), 'name them series and level'),
        (('series,level', 'S1,L3'), 'name them series and level'),
        (('series,level,z_mm', 'S1,L3,'), 'no row has a position'),
        (('series,level,z_mm', ',L3,1'), 'row 0 has no series; name it as in results.csv'),
        (('series,level,z_mm', 'S1,L3,low'), "row 0, column z_mm: 'low' is not a position"),
        (('series,level,z_mm', 'S1,L3,inf'), "'inf' is not a position"),
        (('series,level,z_mm', 'S1,L3,1_0'), "'1_0' is not a position"),
        (('series,level,z_mm', 'S1,L3,1', 'S1,L3,2'), 'rows 0 and 1 are both of L3'),
    ],
)
def test_other_tables_are_refused(tmp_path, lines, message):
    with pytest.raises(InputError, match=f'levels.csv: .*{message}'):
        table(tmp_path, *lines)


def test_a_file_must_be_of_one_slice(tmp_path):
    found = table(tmp_path, 'series,level,file', 'S1,L3,99.dcm')
    with pytest.raises(InputError, match=r'row 0: 0 slices of the series S1 are in a file 99.dcm'):
        found.positions(SERIES)


def test_a_position_must_not_contradict_the_file(tmp_path):
    found = table(tmp_path, 'series,level,z_mm,file', 'S1,L3,12.5,2.dcm', 'S1,T12,40,3.dcm')
    with pytest.raises(InputError, match=r'row 1: z_mm 40 is not at the slice in file 3.dcm, .*15'):
        found.positions(SERIES)
