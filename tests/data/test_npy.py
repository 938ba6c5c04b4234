import errno
import functools
import os
import resource

import jax.numpy as jnp
import numpy as np
import pytest
from data.fuzz_npy import fuzz

from bodycomp_jax.data import npy
from bodycomp_jax.data.npy import NpyRows, npy_writers
from bodycomp_jax.errors import InputError, RunError

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
def test_rows_equal_those_of_numpy_for_every_format(save, version, order, dtype):
    array = np.asarray(ARRAY.astype(dtype), order=order)
    rows = NpyRows(save(array, version))
    assert (rows.shape, len(rows), rows.nbytes) == (array.shape, 7, array.nbytes)
    picked = rows.read(np.array([6, 0, 3, 3]))
    np.testing.assert_array_equal(picked, array[[6, 0, 3, 3]])
    assert picked.dtype.isnative
    spans = rows.spans(2 * array[0].nbytes)
    assert spans == [(0, 2), (2, 4), (4, 6), (6, 7)]
    np.testing.assert_array_equal(np.concatenate([rows.read_span(*s) for s in spans]), array)


def test_fortran_files_larger_than_the_copy_buffer(save, monkeypatch):
    array = np.asfortranarray(ARRAY[..., 0].astype(np.int16))
    monkeypatch.setattr(npy, 'COPY_BYTES', 3 * array[0].nbytes)
    np.testing.assert_array_equal(NpyRows(save(array)).read(range(7)), array)


def test_the_error_for_a_missing_file_names_it(tmp_path):
    with pytest.raises(InputError, match=r'images\.npy: cannot be opened \(No such file'):
        NpyRows(tmp_path / 'images.npy')


@pytest.mark.parametrize('content', [b'', b'not numpy', b'\x93NUMPY\x01\x00', b'\x93NUMPY\x09\x00'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / 'file.npy').write_bytes(content)
    with pytest.raises(InputError, match=r'file\.npy: not a readable \.npy file'):
        NpyRows(tmp_path / 'file.npy')


def test_the_error_for_a_file_of_another_format_says_which(tmp_path):
    np.savez(tmp_path / 'file.npz', ARRAY)
    (tmp_path / 'file.npz').rename(tmp_path / 'file.npy')
    with pytest.raises(InputError, match=r'file\.npy: .*, but a ZIP archive .*numpy\.save'):
        NpyRows(tmp_path / 'file.npy')


@pytest.mark.parametrize('dtype', [jnp.bfloat16, [('hu', 'i2')]])
def test_arrays_of_types_that_are_not_numbers_are_to_be_converted(save, dtype):
    with pytest.raises(InputError, match=r'expected an array of numbers.*\(astype\)'):
        NpyRows(save(ARRAY.astype(dtype)))


def test_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / 'file.npy', np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match='expected an array of numbers'):
        NpyRows(tmp_path / 'file.npy')


def test_a_truncated_file_is_refused(save):
    path = save(ARRAY)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r'its header requires .* truncated'):
        NpyRows(path)


def test_a_file_that_holds_more_than_its_header_says_is_refused(save):
    path = save(ARRAY)
    with open(path, 'ab') as file:
        np.save(file, ARRAY)
    with pytest.raises(InputError, match='the rest would be ignored; save a single array'):
        NpyRows(path)


def test_errors_of_the_disk_name_the_file_the_cause_and_the_remedy(save, monkeypatch):
    rows = NpyRows(save(ARRAY))

    def fail(*_):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, 'preadv', fail)
    with pytest.raises(RunError, match=r'array\.npy: cannot be read \(Stale file handle; the disk'):
        rows.read([0])
    monkeypatch.setattr(os, 'pread', fail)
    with pytest.raises(
        InputError, match=r'array\.npy: cannot be read \(Stale file handle; the disk'
    ):
        NpyRows(rows.path)


def test_a_full_temporary_folder_is_named_with_what_is_needed(save, monkeypatch):
    rows = NpyRows(save(np.asfortranarray(ARRAY)))
    monkeypatch.setattr(npy.tempfile, 'TemporaryFile', functools.partial(open, '/dev/full', 'w+b'))
    message = r'array\.npy: in Fortran order, needs a copy of 0 MB in .*No space left.*set TMPDIR'
    with pytest.raises(InputError, match=message):
        rows.read([0])


def test_a_file_is_touched_when_it_is_written_or_replaced(save):
    path = save(ARRAY)
    rows = NpyRows(path)
    assert not rows.touched()
    os.utime(path, ns=(1, 1))
    assert [rows.touched(), rows.touched()] == [True, False]
    path.rename(path.with_name('moved.npy'))
    assert not rows.touched()  # what was opened is still read
    save(ARRAY)
    assert rows.touched()


@pytest.mark.parametrize(
    ('version', 'length', 'header'),
    [
        (1, 2, b"{'descr': '<i2', 'fortran_order': False, 'shape': (-1, 4, 4)}"),
        (1, 2, b"{'descr': '<i2', 'fortran_order': False, 'shape': (10000000000, 99, 99)}"),
        (1, 2, b"{'descr': '<i2', 'fortran_order': False, 'shape': (%d, 9)}" % 10**40),
        (1, 2, b"{'descr': '<i2', 'fortran_order': False, 'shape': (5000000000,)}"),
        (1, 2, b"{'descr': '|V2000000000', 'fortran_order': False, 'shape': (4, 4)}"),
        (1, 2, b'(' * 9000),
        (2, 4, None),  # a header of 4 GB
    ],
)
def test_headers_with_false_sizes_are_refused_with_little_memory(tmp_path, version, length, header):
    path = tmp_path / 'false.npy'
    size = 2**32 - 1 if header is None else len(header)
    with open(path, 'wb') as file:
        file.write(b'\x93NUMPY' + bytes([version, 0]) + size.to_bytes(length, 'little'))
        file.write(header or b'')
        file.truncate(10_000_000_000)  # sparse
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r'false\.npy'):
        NpyRows(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_pipes_folders_and_broken_links_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'loop').symlink_to(tmp_path / 'loop')
    (tmp_path / 'nothing').symlink_to(tmp_path / 'nowhere')
    for name in ('pipe', 'folder', 'loop', 'nothing'):
        with pytest.raises(InputError, match=name):
            NpyRows(tmp_path / name)


def test_fuzzed_headers_are_read_or_refused():
    accepted, refused, _, _ = fuzz(3000, seed=1)
    assert accepted > 10
    assert refused > 1000


def test_fingerprints_of_different_arrays_differ(save):
    one = NpyRows(save(ARRAY)).fingerprint()
    assert one == NpyRows(save(ARRAY)).fingerprint()
    other = ARRAY.copy()
    other[3, 1, 1] += 1
    assert one['fingerprint'] != NpyRows(save(other)).fingerprint()['fingerprint']
    assert one['shape'] != NpyRows(save(ARRAY[:-1])).fingerprint()['shape']


def test_truncation_after_opening_is_an_error(save):
    path = save(ARRAY)
    rows = NpyRows(path)
    path.write_bytes(path.read_bytes()[:-1])
    rows.read([0])
    with pytest.raises(RunError, match='truncated during this run'):
        rows.read([6])


@pytest.mark.parametrize('dtype', ['<i2', '>f4', '|u1'])
@pytest.mark.parametrize('n', [1, 7, 12])
def test_written_files_equal_numpy_save_byte_by_byte(tmp_path, dtype, n):
    array = np.resize(ARRAY, (n, 5, 4, 1)).astype(dtype)
    np.save(tmp_path / 'saved.npy', array)
    with npy_writers(str(tmp_path / 'written.npy')) as (writer,):
        for row in array:
            writer.append(np.asfortranarray(row))
    assert (tmp_path / 'written.npy').read_bytes() == (tmp_path / 'saved.npy').read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_files_are_written_together_or_not_at_all(tmp_path):
    paths = [str(tmp_path / name) for name in ('a.npy', 'b.npy')]
    np.save(paths[0], ARRAY)
    differs = r'b\.npy.*: row 1 is int64 of shape \(4, 4, 1\), but the first is'
    with pytest.raises(ValueError, match=differs), npy_writers(*paths) as (a, b):
        a.append(ARRAY[0])
        b.append(ARRAY[0])
        b.append(ARRAY[1, 1:])
    with pytest.raises(ValueError, match=r'b\.npy.*: no rows'), npy_writers(*paths) as (a, b):
        a.append(ARRAY[0])
    assert [path.name for path in tmp_path.iterdir()] == ['a.npy']
    np.testing.assert_array_equal(np.load(paths[0]), ARRAY)
