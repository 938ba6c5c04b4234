import dataclasses
import time

import fake_scans
import numpy as np
import pytest
from scan_files import HU, write_slice

from bodycomp_jax.data.scans import find_series
from bodycomp_jax.errors import InputError


@pytest.fixture
def series(tmp_path):
    for i in range(6):
        write_slice(tmp_path / f'{i}.dcm', HU - 10 * i, z=10.0 - i, PatientPosition='FFP')
    return find_series(tmp_path).series[0]


def test_slices_are_read_in_the_order_that_is_asked_for(series):
    order = [5, 0, 3, 3]
    for i, hu in zip(order, series.read(order), strict=True):
        np.testing.assert_array_equal(hu, np.maximum(HU - 10 * (5 - i), -1024))
        assert hu.flags.c_contiguous


def test_reading_may_end_early(series):
    assert next(series.read(range(6))).shape == HU.shape


def test_a_file_that_has_gone_is_named(series, tmp_path):
    (tmp_path / '0.dcm').unlink()
    with pytest.raises(InputError, match=r'0\.dcm: cannot be opened .*check the path'):
        series.hu(5)
    with pytest.raises(InputError, match=r'0\.dcm: '):
        list(series.read(range(6)))


def test_positions_and_identifiers(series):
    assert len(series) == 6
    assert series.z.tolist() == [5, 6, 7, 8, 9, 10]
    assert series.distances.tolist() == [1] * 5
    assert (series.uid, series.name, series.patient_id) == ('1.2.3.4', '1.2.3.4', 'P1')
    assert series.prone


@pytest.mark.parametrize(('position', 'prone'), [('HFS', False), ('HFP', True), (None, None)])
def test_the_belly_is_down_where_the_position_says_so(tmp_path, position, prone):
    write_slice(tmp_path / 'a', PatientPosition=position)
    assert find_series(tmp_path).series[0].prone is prone


def test_threads_share_what_opens_a_file():
    opened = []

    def slowly():
        opened.append(time.sleep(0.05))
        return lambda of: np.zeros((8, 8), np.int16)

    series = dataclasses.replace(fake_scans.series(range(8)), _open=slowly)
    assert len([*series.read(range(8))]) == 8
    assert len(opened) == 1
