import math
import os

import fake_scans
import numpy as np
import pytest
import scan_files
from pydicom.uid import generate_uid

from bodycomp_jax.data.scans import Grid, find_series
from bodycomp_jax.data.scans.headers import Header
from bodycomp_jax.data.scans.packed import (
    MAX_PENDING,
    PackedHeaders,
    PackedSeries,
    packed,
    unpacked,
)

GRID = Grid(6, 8, (0.1 + 0.2, 0.5), (-0.0, 1e-300, 5.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def header(path, uid='1.2', **changes):
    known = {
        'frame': 3,
        'grid': GRID,
        'sop_instance_uid': generate_uid(),
        'common': ('P1', '1.3'),
        'acquisition': '1',
        'time': '',
        'instance': '7',
        'slope': None,
        'intercept': -1024.0,
        'doubt': 'größer',
    }
    return Header(path=path, series_uid=uid, **known | changes)


def test_headers_are_the_same_to_the_bit():
    headers = [header('folder/\udcff.dcm'), header('b', grid=GRID, slope=math.pi)]
    assert unpacked(Header, packed(headers)) == headers
    assert math.copysign(1, unpacked(Header, packed(headers))[0].grid.position[0]) == -1


def test_headers_come_by_series_however_many_there_are():
    headers = PackedHeaders()
    for i in range(MAX_PENDING + 10):
        headers.add([header(str(i), uid=str(i % 2), common=('P', str(i % 3)))])
    groups = list(headers.groups())
    assert [group[0].path for group in groups] == ['0', '1', '2', '3', '4', '5']
    assert [int(each.path) for each in groups[1]] == list(range(1, MAX_PENDING + 10, 6))


def test_a_slice_takes_few_bytes():
    headers = [
        header(f'/data/hospital/patient/series/IM{i:06d}', instance=str(i)) for i in range(300)
    ]
    assert len(packed(headers)) < 60 * len(headers)


def test_a_series_is_unpacked_with_its_name_and_its_pixels():
    series = fake_scans.series(range(0, 30, 5), name='S7', patient_id='P')
    found = PackedSeries.of(series).unpacked()
    assert found.slices == series.slices
    assert (found.name, found.patient_id) == ('S7', 'P')
    np.testing.assert_array_equal(found.z, series.z)


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='needs /proc')
def test_files_of_a_series_are_open_only_while_it_is_in_use(tmp_path):
    for i in range(8):
        image = np.full((6, 8, 3), -1000, np.int16)
        image[0, 0] = i
        scan_files.write_nifti(tmp_path / f'{i}.nii.gz', image)
    found = find_series(tmp_path)
    before = len(os.listdir('/proc/self/fd'))
    corners = [series.hu(0).max() for series in found.series]
    assert sorted(corners) == list(range(8))
    assert len(os.listdir('/proc/self/fd')) <= before + 1  # that of the last series
