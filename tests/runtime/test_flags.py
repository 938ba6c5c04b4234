import dataclasses
import os
import subprocess

import jax
import pytest
from helpers import command

from bodycomp_jax.config import RunConfig, SegmentationConfig
from bodycomp_jax.errors import InputError, Stopped, WorkError
from bodycomp_jax.runtime import flags


def parse(*arguments):
    return flags.parse(['train.py', *arguments], 'Trains.', RunConfig, SegmentationConfig)


def test_defaults_are_those_of_the_config():
    run, config = parse('data', 'out')
    assert config == SegmentationConfig()
    assert run == RunConfig(data_dir='data', model_output_dir='out')


@pytest.mark.parametrize(
    'arguments',
    [
        ['data', 'out'],
        ['--data_dir', 'data', '--model_output_dir', 'out'],
        ['--data_dir=data', 'out'],
        ['data', '--model_output_dir', 'out'],
    ],
)
def test_folders_are_given_by_position_or_by_flag(arguments):
    run, _ = parse(*arguments, '-e', '2')
    assert (run.data_dir, run.model_output_dir) == ('data', 'out')


def test_short_flags_of_the_reference():
    run, config = parse(
        'data', 'out', '-a', 'run', '-g', '2', '-l', '1e-4', '-b', '6', '-e', '5', '-t', '-p',
        '-C', '4,8,16', '-M', '8,4', '-N', '2', '-A', 'elu', '-w', 'old',
    )  # fmt: skip
    assert run == RunConfig(data_dir='data', model_output_dir='out', name='run', num_gpus=2)
    assert config == SegmentationConfig(
        learning_rate=1e-4,
        batch_size=6,
        epochs=5,
        thoracic_model=True,
        compression_channels=(4, 8, 16),
        decompression_channels=(8, 4),
        num_convs=2,
        activation='elu',
        load_weights='old',
    )


def test_switches_can_be_switched_off():
    _, config = parse('data', 'out', '--noapply_window_function', '--noaugment')
    assert not config.apply_window_function
    assert not config.augment


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'DATA_DIR is missing'),
        (['data'], 'MODEL_OUTPUT_DIR is missing'),
        (['data', 'out', 'more'], "'more': one argument too many"),
        (['data', 'out', '--data_dir', 'data'], 'DATA_DIR is given twice'),
        (['data', 'out', '-e', '1', '--epochs', '2'], 'epochs'),
        (['data', 'out', '--epoch', '3'], 'Did you mean: epochs'),
        (['data', 'out', '-e', 'many'], 'epochs=many'),
        (['data', 'out', '-C', '4;8'], 'separated by commas'),
        (['data', 'out', '--loss', 'focal'], 'dice'),
    ],
)
def test_wrong_usage_is_an_input_error(arguments, message):
    with pytest.raises(InputError, match=message):
        parse(*arguments)


def test_help_shows_every_flag_with_its_default(capsys):
    with pytest.raises(SystemExit) as stop:
        parse('--help')
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for field in (*dataclasses.fields(RunConfig), *dataclasses.fields(SegmentationConfig)):
        assert field.name in printed
    assert '(default: step)' in printed
    assert '-b, --batch_size N' in printed


def test_a_run_without_a_name_is_called_after_the_time(tmp_path):
    folder = flags.run_folder(RunConfig(model_output_dir=tmp_path))
    assert os.path.basename(folder).startswith('untitled_model_20')
    assert not os.path.exists(folder)


@pytest.mark.parametrize(
    'name',
    [
        '',
        ' ',
        '.',
        '..',
        'a/b',
        '../b',
        '/b',
        'a\\b',
        'a\nb',
        'a\0b',
        'a ',
        300 * 'a',
        100 * '\u6bbf',
    ],
)
def test_names_that_are_no_plain_folder_names_are_refused(name):
    with pytest.raises(InputError, match='plain folder name'):
        flags.run_folder(RunConfig(model_output_dir='out', name=name))


def test_output_below_a_file_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='file is not a folder'):
        flags.run_folder(RunConfig(model_output_dir=tmp_path / 'file' / 'out', name='run'))


def test_output_in_a_folder_of_others_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'access', lambda path, mode: path != str(tmp_path))
    with pytest.raises(InputError, match='not writable'):
        flags.run_folder(RunConfig(model_output_dir=str(tmp_path / 'out'), name='run'))


def test_a_folder_of_something_else_is_not_taken_for_a_run(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'thesis.tex').touch()
    with pytest.raises(InputError, match='not a run'):
        flags.run_folder(RunConfig(model_output_dir=tmp_path, name='run'))


def test_devices_must_be_there_and_divide_the_batch():
    assert flags.devices(None, 16) == jax.local_devices()
    assert flags.devices(2, 6) == jax.local_devices()[:2]
    for num_gpus in (9, 0):
        with pytest.raises(InputError, match='this machine has 8'):
            flags.devices(num_gpus, 16)
    with pytest.raises(InputError, match='12 images do not divide over 8 devices'):
        flags.devices(8, 12)


@pytest.mark.parametrize(
    ('error', 'code'),
    [
        (InputError('no such file'), 2),
        (WorkError('disk full'), 1),
        (OSError('gone'), 1),
        (KeyboardInterrupt(), 130),
        (Stopped(15), 143),
    ],
)
def test_errors_end_the_program_with_a_message_and_a_code(capsys, error, code):
    def main(argv):
        raise error

    with pytest.raises(SystemExit) as stop:
        flags.run(main)
    assert stop.value.code == code
    message = '' if isinstance(error, Stopped) else str(error)
    assert message in capsys.readouterr().err


def test_a_platform_without_devices_is_wrong_usage(data_dir, tmp_path):
    done = subprocess.run(
        command(data_dir, tmp_path),
        env={**os.environ, 'JAX_PLATFORMS': 'cuda'},
        capture_output=True,
        text=True,
        check=False,
    )
    if 'train ' in done.stdout:
        pytest.skip('this machine has a GPU')
    assert done.returncode == 2
    assert 'JAX found no device to compute on' in done.stderr
    assert 'Traceback' not in done.stderr
