import errno
import fcntl
import os

import pytest

from bodycomp_jax.config import RunConfig
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.training.run_folder import locked, refuse_missing_folder, run_folder


def test_a_folder_is_locked_once_and_free_again_after(tmp_path):
    refused = pytest.raises(InputError, match='is training in this folder')
    with locked(tmp_path, print), refused, locked(tmp_path, print):
        pass
    with locked(tmp_path, print):
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


@pytest.mark.parametrize(
    ('output_dir', 'message'),
    [
        ('/tmp/' + 20 * f'{200 * "d"}/', r'a path of 40\d\d bytes, .* shorter path'),
        (os.fsdecode(b'/tmp/gr\xf6sse'), r'gr\udcf6sse/run: the path is not valid UTF-8'),
    ],
)
def test_paths_that_checkpoints_cannot_have_are_refused(output_dir, message):
    with pytest.raises(InputError, match=message):
        run_folder(RunConfig(model_output_dir=output_dir, name='run'))


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
    with locked(tmp_path, warnings.append):
        pass
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
    with locked(tmp_path, print), refused, locked(tmp_path, print):
        pass


@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir, lambda path: os.symlink('thesis', path)])
def test_a_lock_that_is_not_a_file_is_neither_followed_nor_waited_for(tmp_path, make):
    (tmp_path / 'thesis').write_text('precious')
    make(tmp_path / '.lock')
    with pytest.raises(InputError, match='not a regular file; remove it'), locked(tmp_path, print):
        pass
    assert (tmp_path / 'thesis').read_text() == 'precious'


def test_a_run_of_another_user_with_a_folder_that_is_not_writable_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / 'run' / 'checkpoints' / '4'
    folder.mkdir(parents=True)
    (tmp_path / 'run' / '.lock').touch()
    monkeypatch.setattr(os, 'access', lambda path, mode: path != str(folder))
    with pytest.raises(InputError, match=f'{folder}: not writable .*chmod -R g.w {tmp_path}/run'):
        run_folder(RunConfig(model_output_dir=str(tmp_path), name='run'))


def test_a_run_folder_that_was_deleted_is_an_error(tmp_path):
    (tmp_path / 'args.json').touch()
    refuse_missing_folder(str(tmp_path))
    for folder in (tmp_path / 'gone', tmp_path / 'new'):
        (tmp_path / 'new' / 'checkpoints').mkdir(parents=True, exist_ok=True)
        with pytest.raises(RunError, match='deleted or moved while it trained'):
            refuse_missing_folder(str(folder))
