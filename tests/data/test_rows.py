import zlib

import numpy as np
import pytest

from bodycomp_jax.data.npy import NpyRows
from bodycomp_jax.data.rows import SelectedRows
from bodycomp_jax.errors import InputError

A = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
B = 100 + np.arange(18, dtype=np.int16).reshape(3, 3, 2)
ROWS = np.array([0, 2, 3, 5])


def select(tmp_path, *arrays, rows=ROWS):
    sources = []
    for name, array in zip('ab', arrays, strict=True):
        np.save(tmp_path / f'{name}.npy', array)
        sources.append(NpyRows(tmp_path / f'{name}.npy'))
    return SelectedRows(sources, rows, folder='DATA', selection='some')


def test_rows_of_two_files_are_read_as_those_of_one_array(tmp_path):
    selected = select(tmp_path, A, np.asfortranarray(B))
    expected = np.concatenate([A, B])[ROWS]
    assert (len(selected), selected.shape, selected.nbytes) == (4, (4, 3, 2), expected.nbytes)
    assert selected.dtype == np.int16
    np.testing.assert_array_equal(selected.read([3, 0, 3]), expected[[3, 0, 3]])
    np.testing.assert_array_equal(selected.read_span(1, 4), expected[1:4])
    assert selected.fingerprint() == {
        'shape': [4, 3, 2], 'dtype': '<i2', 'bytes': expected.nbytes,
        'fingerprint': zlib.crc32(expected.data),
    }  # fmt: skip


def test_rows_are_named_by_their_files(tmp_path):
    selected = select(tmp_path, A, B)
    names = [selected.name(row) for row in range(4)]
    assert names == ['slice 0 of a.npy', 'slice 2 of a.npy', 'slice 3 of a.npy', 'slice 1 of b.npy']
    assert selected.path == 'DATA, some'


def test_files_of_different_types_and_axes_of_length_1_are_joined(tmp_path):
    selected = select(tmp_path, A, (B + 0.5).astype(np.float32)[..., None])
    assert selected.dtype == np.float32
    read = selected.read(range(4))
    np.testing.assert_array_equal(read[:3], A[[0, 2, 3]])
    np.testing.assert_array_equal(read[3], B[1] + 0.5)


def test_rows_of_other_sizes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r'b\.npy: .*\(3, 2, 2\), but .*a\.npy has shape \(4, 3, '):
        select(tmp_path, A, B[:, :2])


def test_files_that_were_touched_are_opened_again(tmp_path):
    selected = select(tmp_path, A, B)
    assert not selected.touched()
    for name, array in (('a', A), ('b', B)):
        np.save(tmp_path / f'{name}.npy', array + 1)
    assert selected.touched()
    assert not selected.touched()
    np.testing.assert_array_equal(
        selected.reopened().read(range(4)), np.concatenate([A, B])[ROWS] + 1
    )
    np.save(tmp_path / 'b.npy', B[:2])
    with pytest.raises(InputError, match=r'b\.npy: int16 of shape \(2, 3, 2\), but it was int16'):
        selected.reopened()
