"""The folder of a run: its name, and its lock."""

import os

import pytest

from bodycomp_jax.config import RunConfig
from bodycomp_jax.errors import InputError
from bodycomp_jax.training.run_folder import locked, run_folder


def test_a_run_without_a_name_is_named_after_the_time(tmp_path):
    folder = run_folder(RunConfig(model_output_dir=tmp_path))
    assert os.path.basename(folder).startswith('untitled_model_20')
    assert not os.path.exists(folder)


@pytest.mark.parametrize(
    'name',
    [
        '', ' ', '.', '..', 'a/b', '../b', '/b', 'a\\b', 'a\nb', 'a\0b', 'a ', 300 * 'a',
        100 * '\u6bbf',
    ],
)  # fmt: skip
def test_names_other_than_plain_folder_names_are_refused(name):
    with pytest.raises(InputError, match='plain folder name'):
        run_folder(RunConfig(model_output_dir='out', name=name))


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='file is not a folder'):
        run_folder(RunConfig(model_output_dir=tmp_path / 'file' / 'out', name='run'))


def test_a_folder_of_something_else_is_not_taken_for_a_run(tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()
    config = RunConfig(model_output_dir=tmp_path, name='run')
    assert run_folder(config) == str(folder)
    (folder / 'thesis.tex').touch()
    with pytest.raises(InputError, match='not a run'):
        run_folder(config)
    with locked(folder):  # a run that ended before it wrote anything else
        assert run_folder(config) == str(folder)


def test_a_folder_is_locked_once_and_unlocked_afterwards(tmp_path):
    refused = pytest.raises(InputError, match='is training in this folder')
    with locked(tmp_path), refused, locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
