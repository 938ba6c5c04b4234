import errno
import fcntl
import os
import shutil

import pytest

from bodycomp_jax.config import RunConfig
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.training.run_folder import RunLock, run_folder


def test_a_folder_is_locked_once_and_free_again_after(tmp_path):
    refused = pytest.raises(InputError, match='is training in this folder')
    with RunLock(tmp_path, print), refused, RunLock(tmp_path, print):
        pass
    with RunLock(tmp_path, print):
        pass


def test_a_run_without_a_name_is_called_after_the_time(tmp_path):
    folder = run_folder(RunConfig(model_output_dir=tmp_path))
    assert os.path.basename(folder).startswith('untitled_model_20')
    assert not os.path.exists(folder)


def test_runs_without_a_name_that_start_together_have_folders_of_their_own(tmp_path):
    folders = {run_folder(RunConfig(model_output_dir=tmp_path)) for _ in range(4)}
    assert len(folders) == 4


@pytest.mark.parametrize(
    'name',
    [
        '', ' ', '.', '..', 'a/b', '../b', '/b', 'a\\b', 'a\nb', 'a\0b', 'a ', 300 * 'a',
        100 * '\u6bbf',
    ],
)  # fmt: skip
def test_names_that_are_not_plain_folder_names_are_refused(name):
    with pytest.raises(InputError, match='plain folder name'):
        run_folder(RunConfig(model_output_dir='out', name=name))


def test_an_unwritable_output_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'access', lambda path, mode: path != str(tmp_path))
    with pytest.raises(InputError, match='not writable'):
        run_folder(RunConfig(model_output_dir=str(tmp_path / 'out'), name='run'))


def test_a_folder_with_other_files_is_not_a_run(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'thesis.tex').touch()
    with pytest.raises(InputError, match='not a run'):
        run_folder(RunConfig(model_output_dir=tmp_path, name='run'))


def test_a_run_is_not_begun_again_under_another_spelling_of_its_name(tmp_path):
    composed, decomposed = 'gr\u00f6sse', 'gro\u0308sse'
    (tmp_path / decomposed).mkdir()
    (tmp_path / decomposed / '.lock').touch()
    with pytest.raises(InputError, match='in another Unicode form'):
        run_folder(RunConfig(model_output_dir=tmp_path, name=composed))
    for name in (decomposed, 'gr\u00fcn'):
        assert run_folder(RunConfig(model_output_dir=tmp_path, name=name)) == str(tmp_path / name)


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
    def fail(file, operation):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', fail)
    warnings = []
    with RunLock(tmp_path, warnings.append) as lock:
        lock.refuse_loss()
        (tmp_path / '.lock').write_text('process 1 on elsewhere\n')
        with pytest.raises(RunError, match='process 1 on elsewhere trains in this folder as well'):
            lock.refuse_loss()
    assert len(warnings) == 1
    assert 'cannot be locked on this file system (No locks available)' in warnings[0]


def test_the_lock_of_another_user_that_may_only_be_read_is_enough(tmp_path, monkeypatch):
    (tmp_path / '.lock').write_text('process 1 on elsewhere\n')
    opened = os.open

    def read_only(path, flags, *mode):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, 'Permission denied', path)
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, 'open', read_only)
    refused = pytest.raises(InputError, match='process 1 on elsewhere is training in this folder')
    with RunLock(tmp_path, print), refused, RunLock(tmp_path, print):
        pass


@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir, lambda path: os.symlink('thesis', path)])
def test_a_lock_that_is_not_a_file_is_neither_followed_nor_waited_for(tmp_path, make):
    (tmp_path / 'thesis').write_text('precious')
    make(tmp_path / '.lock')
    with pytest.raises(InputError, match='not a regular file; remove it'), RunLock(tmp_path, print):
        pass
    assert (tmp_path / 'thesis').read_text() == 'precious'


def test_a_run_of_another_user_with_a_folder_that_is_not_writable_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / 'run' / 'checkpoints' / '4'
    folder.mkdir(parents=True)
    (tmp_path / 'run' / '.lock').touch()
    monkeypatch.setattr(os, 'access', lambda path, mode: path != str(folder))
    with pytest.raises(InputError, match=f'{folder}: not writable .*chmod -R g.w {tmp_path}/run'):
        run_folder(RunConfig(model_output_dir=str(tmp_path), name='run'))


@pytest.mark.parametrize('made_anew', [False, True])
def test_a_run_folder_that_was_deleted_is_an_error(tmp_path, made_anew):
    with RunLock(tmp_path / 'run', print) as lock:
        lock.refuse_loss()
        shutil.rmtree(tmp_path / 'run')
        if made_anew:
            (tmp_path / 'run' / 'checkpoints').mkdir(parents=True)
        with pytest.raises(RunError, match='deleted or moved while it trained'):
            lock.refuse_loss()
