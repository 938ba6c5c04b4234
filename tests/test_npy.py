import numpy as np
import pytest

from bodycomp_jax.data import npy
from bodycomp_jax.data.npy import NpyRows
from bodycomp_jax.errors import InputError, WorkError

ARRAY = np.random.default_rng(0).integers(-1024, 3000, (7, 5, 4, 1))


@pytest.fixture
def save(tmp_path):
    def save(array, version=None):
        path = tmp_path / 'array.npy'
        with open(path, 'wb') as file:
            np.lib.format.write_array(file, array, version=version)
        return path

    return save


@pytest.mark.filterwarnings('ignore:Stored array in format:UserWarning')
@pytest.mark.parametrize('version', [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize('order', ['C', 'F'])
@pytest.mark.parametrize('dtype', ['<i2', '>i2', '<i4', '<f2', '>f4', '<f8', '|u1'])
def test_rows_are_those_of_numpy_whatever_the_file(save, version, order, dtype):
    array = np.asarray(ARRAY.astype(dtype), order=order)
    rows = NpyRows(save(array, version))
    assert (rows.shape, len(rows), rows.nbytes) == (array.shape, 7, array.nbytes)
    picked = rows.read(np.array([6, 0, 3, 3]))
    np.testing.assert_array_equal(picked, array[[6, 0, 3, 3]])
    assert picked.dtype.isnative
    chunks = list(rows.chunks(2 * array[0].nbytes))
    assert [start for start, _ in chunks] == [0, 2, 4, 6]
    np.testing.assert_array_equal(np.concatenate([chunk for _, chunk in chunks]), array)


def test_fortran_files_larger_than_the_copy_buffer(save, monkeypatch):
    array = np.asfortranarray(ARRAY[..., 0].astype(np.int16))
    monkeypatch.setattr(npy, 'COPY_BYTES', 3 * array[0].nbytes)
    np.testing.assert_array_equal(NpyRows(save(array)).read(range(7)), array)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r'images\.npy: cannot be opened \(No such file'):
        NpyRows(tmp_path / 'images.npy')


@pytest.mark.parametrize('content', [b'', b'not numpy', b'\x93NUMPY\x01\x00', b'\x93NUMPY\x09\x00'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / 'file.npy').write_bytes(content)
    with pytest.raises(InputError, match=r'file\.npy: not a readable \.npy file'):
        NpyRows(tmp_path / 'file.npy')


def test_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / 'file.npy', np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match='not an array of numbers'):
        NpyRows(tmp_path / 'file.npy')


def test_file_shorter_than_its_header_says(save):
    path = save(ARRAY)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match='its header promises'):
        NpyRows(path)


def test_file_cut_short_while_it_is_read(save):
    path = save(ARRAY)
    rows = NpyRows(path)
    path.write_bytes(path.read_bytes()[:-1])
    rows.read([0])
    with pytest.raises(WorkError, match='cut short'):
        rows.read([6])
