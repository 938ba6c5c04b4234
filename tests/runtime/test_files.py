"""Files that are written whole, and folders that cannot be written to."""

import errno
import os

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime import files


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'file'
    path.write_text('old')
    with pytest.raises(KeyError), files.replacing(path) as file:
        file.write('half of the n')
        raise KeyError
    assert path.read_text() == 'old'
    with files.replacing(path) as file:
        file.write('new')
    assert path.read_text() == 'new'
    assert os.listdir(tmp_path) == ['file']


def test_a_folder_that_does_not_exist_yet_is_on_the_disk_of_its_parent(tmp_path):
    assert files.existing_folder(tmp_path / 'a' / 'b') == str(tmp_path)
    assert files.free_bytes(tmp_path / 'a' / 'b') > 0


def test_a_file_is_identified_by_its_content(tmp_path):
    for name, content in (('a', b'1'), ('b', b'1'), ('c', b'2')):
        (tmp_path / name).write_bytes(content)
    a, b, c = (files.fingerprint(str(tmp_path / name)) for name in 'abc')
    assert a == b != c
    with pytest.raises(InputError, match='not a regular file'):
        files.fingerprint(str(tmp_path))


def test_output_below_a_file_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='file is not a folder'):
        files.refuse_unwritable(tmp_path / 'file' / 'out' / 'run')


@pytest.mark.parametrize('name', ['d' * 300, 'd/' * 3000])
def test_names_that_are_too_long_are_refused(tmp_path, name):
    with pytest.raises(InputError, match='File name too long; choose a shorter name'):
        files.refuse_unwritable(f'{tmp_path}/{name}')


def test_an_unwritable_folder_is_refused(tmp_path, monkeypatch):
    files.refuse_unwritable(str(tmp_path / 'out'))
    monkeypatch.setattr(os, 'access', lambda path, mode: path != str(tmp_path))
    with pytest.raises(InputError, match='not writable'):
        files.refuse_unwritable(str(tmp_path / 'out'))


def test_text_is_utf_8_whatever_the_locale(tmp_path, monkeypatch):
    monkeypatch.setattr('locale.getencoding', lambda: 'latin-1')
    with files.replacing(str(tmp_path / 'file')) as file:
        file.write('José, M\udcfcller')  # the latter of a path that is not UTF-8
    assert (tmp_path / 'file').read_bytes() == b'Jos\xc3\xa9, M\\udcfcller'


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path):
    (tmp_path / 'thesis').write_text('precious')
    (tmp_path / '.file.new').symlink_to(tmp_path / 'thesis')
    with files.replacing(str(tmp_path / 'file')) as file:
        file.write('new')
    assert (tmp_path / 'thesis').read_text() == 'precious'
    assert (tmp_path / 'file').read_text() == 'new'
    assert not (tmp_path / 'file').is_symlink()


def test_an_error_of_the_disk_names_the_file(tmp_path, monkeypatch):
    def fail(fd):
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError) as caught, files.replacing(str(tmp_path / 'file')):
        pass
    assert files.explained(caught.value).startswith(f'{tmp_path}/file: Input/output error; the ')
    assert not os.listdir(tmp_path)


def test_a_folder_in_place_of_the_file_is_named_with_a_remedy(tmp_path):
    (tmp_path / 'file').mkdir()
    with pytest.raises(OSError) as caught, files.replacing(str(tmp_path / 'file')):
        pass
    message = files.explained(caught.value)
    assert message.startswith(f'{tmp_path}/file: ') and message.endswith('move it away')
    assert os.listdir(tmp_path) == ['file']


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(OSError) as caught, files.replacing(str(tmp_path / 'file')):
        (tmp_path / 'missing').read_text()
    assert caught.value.filename == str(tmp_path / 'missing')
