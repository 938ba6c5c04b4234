import os

import pytest

from bodycomp_jax.config import RunConfig
from bodycomp_jax.errors import InputError
from bodycomp_jax.training.run_folder import locked, run_folder


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
