"""Folders that are written whole or not at all."""

import os

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.folders import new_folder


def contents(folder):
    return sorted(os.listdir(folder))


def test_a_folder_is_there_once_it_is_whole(tmp_path):
    path = tmp_path / 'a' / 'set'
    with new_folder(str(path)) as aside:
        (tmp_path / 'a' / os.path.basename(aside) / 'file').touch()
        assert not path.exists()
    assert contents(path) == ['file']
    assert contents(tmp_path / 'a') == ['set']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(tmp_path, error):
    with pytest.raises(error), new_folder(str(tmp_path / 'set')) as aside:
        os.mkdir(f'{aside}/half')
        raise error
    assert contents(tmp_path) == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / '.set.new' / 'parts').mkdir(parents=True)
    (tmp_path / '.set.new' / 'half').touch()
    (tmp_path / '.set.new' / 'link').symlink_to(tmp_path)
    with new_folder(str(tmp_path / 'set')) as aside:
        assert contents(aside) == []
    assert contents(tmp_path) == ['set']


def test_an_empty_folder_and_a_link_to_one_are_taken(tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'empty')
    with new_folder(str(tmp_path / 'link')) as aside:
        os.mkdir(f'{aside}/file')
    assert contents(tmp_path / 'empty') == ['file']


def test_a_folder_with_files_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='holds files; remove it'), new_folder(str(tmp_path)):
        pass
    assert contents(tmp_path) == ['file']


def test_where_a_disk_is_mounted_nothing_can_be_put(tmp_path, monkeypatch):
    (tmp_path / 'disk').mkdir()
    monkeypatch.setattr(os.path, 'ismount', lambda path: path == str(tmp_path / 'disk'))
    with pytest.raises(InputError, match='a disk is mounted here'):
        new_folder(str(tmp_path / 'disk')).__enter__()
    with new_folder(str(tmp_path / 'disk' / 'set')):
        pass


def test_two_processes_do_not_write_one_folder(tmp_path):
    path = str(tmp_path / 'set')
    with new_folder(path) as aside:
        os.mkdir(f'{aside}/file')
        with pytest.raises(InputError, match='another process writes this'), new_folder(path):
            pass
    assert contents(path) == ['file']


def test_a_folder_that_another_process_just_finished_is_not_emptied(tmp_path, monkeypatch):
    path = str(tmp_path / 'set')

    def finish(fd, operation):
        os.rename(tmp_path / '.set.new', path)

    monkeypatch.setattr('fcntl.flock', finish)
    with pytest.raises(InputError, match='another process writes this'), new_folder(path):
        pass
    assert contents(tmp_path) == ['set']


def test_a_file_system_without_locks_is_taken(tmp_path, monkeypatch):
    def fail(fd, operation):
        raise OSError(95, 'Operation not supported')

    monkeypatch.setattr('fcntl.flock', fail)
    with new_folder(str(tmp_path / 'set')):
        pass
    assert contents(tmp_path) == ['set']
