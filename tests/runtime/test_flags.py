"""Command lines of the trainers."""

import pytest

from bodycomp_jax.config import RunConfig, SegmentationConfig, from_values, options
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime import flags


def parse(*arguments):
    (run_config, config), given = flags.parse(
        ['train.py', *arguments], 'Trains.', RunConfig, SegmentationConfig
    )
    return run_config, config, given


def test_defaults_are_those_of_the_config():
    run_config, config, given = parse('data', 'out')
    assert config == SegmentationConfig()
    assert run_config == RunConfig(data_dir='data', model_output_dir='out')
    assert given == {'data_dir', 'model_output_dir'}


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
    run_config, _, given = parse(*arguments, '-e', '2')
    assert (run_config.data_dir, run_config.model_output_dir) == ('data', 'out')
    assert given == {'data_dir', 'model_output_dir', 'epochs'}


def test_short_flags_of_the_reference():
    run_config, config, _ = parse(
        'data', 'out', '-a', 'run', '-g', '2', '-l', '1e-4', '-b', '6', '-e', '5', '-t', '-p',
        '-C', '4,8,16', '-M', '8,4', '-N', '2', '-A', 'elu', '-w', 'old',
    )  # fmt: skip
    assert run_config == RunConfig(data_dir='data', model_output_dir='out', name='run', num_gpus=2)
    expected = {
        'learning_rate': 1e-4,
        'batch_size': 6,
        'epochs': 5,
        'thoracic_model': True,
        'compression_channels': (4, 8, 16),
        'decompression_channels': (8, 4),
        'num_convs': 2,
        'activation': 'elu',
        'load_weights': 'old',
    }
    assert config == from_values(SegmentationConfig, expected)


def test_the_first_positional_argument_may_be_left_out():
    run_config, _, given = parse('out')
    assert (run_config.data_dir, run_config.model_output_dir) == (None, 'out')
    assert 'data_dir' not in given
    run_config, _, _ = parse('data', '--model_output_dir', 'out')
    assert (run_config.data_dir, run_config.model_output_dir) == ('data', 'out')


def test_switches_can_be_switched_off():
    _, config, given = parse('data', 'out', '--noapply_window_function', '--noaugment')
    assert not config.network.apply_window_function
    assert config.augmentation.augmentation == 'none'
    assert given >= {'apply_window_function', 'augment'}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'MODEL_OUTPUT_DIR is missing'),
        (['--data_dir', 'data'], 'MODEL_OUTPUT_DIR is missing'),
        (['data', 'out', 'more'], "unexpected argument 'more'"),
        (['data', 'out', '--data_dir', 'data'], 'DATA_DIR is given twice'),
        (['data', 'out', '-e', '1', '--epochs', '2'], 'epochs'),
        (['data', 'out', '--epoch', '3'], 'Did you mean: epochs'),
        (['data', 'out', '-e', 'many'], '--epochs=many: use a whole number, such as 16'),
        (['data', 'out', '-b', ''], '--batch_size=: use a whole number'),
        (['data', 'out', '-l', '0,01'], '--learning_rate=0,01: use a number, such as 0.01'),
        (['data', 'out', '-C', '4,,8'], 'separated by commas'),
        (['data', 'out', '-C', '4;8'], 'separated by commas'),
        (['data', 'out', '--loss', 'focal'], 'dice'),
    ],
)
def test_wrong_usage_is_an_input_error(arguments, message):
    with pytest.raises(InputError, match=message):
        parse(*arguments)


def test_help_shows_every_flag_with_its_default(capsys):
    with pytest.raises(SystemExit) as end:
        parse('--help')
    assert end.value.code == 0
    printed = capsys.readouterr().out
    fields = [*options(RunConfig), *options(SegmentationConfig)]
    assert len(fields) > 25
    for field in fields:
        switch = '[no]' if field.type is bool else ''
        assert f'--{switch}{field.name}' in printed
    assert '(default: cosine)' in printed
    assert '-b, --batch_size N' in printed


def test_the_home_folder_is_expanded_wherever_a_path_is_given(monkeypatch):
    monkeypatch.setenv('HOME', '/home/doctor')
    run_config, config, _ = parse('--data_dir=~/data', '~/out', '-w', '~/old', '--name', '~')
    assert run_config.data_dir == '/home/doctor/data'
    assert run_config.model_output_dir == '/home/doctor/out'
    assert config.load_weights == '/home/doctor/old'
    assert run_config.name == '~'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--data_dir=', 'out'], '--data_dir is empty: is a shell variable unset'),
        (['data', ''], '--model_output_dir is empty'),
        (['data', 'out', '--name', ''], '--name is empty'),
        (['data', 'out', '-w', ' '], '--load_weights is empty'),
        (['data', '$OUT/models'], r'the shell did not expand.*\./\$OUT/models'),
        (['~no_such_user/data', 'out'], 'there is no such user'),
        (['data', 'gs://bucket/models'], '--model_output_dir=gs://bucket/models: not a path'),
    ],
)
def test_what_a_shell_leaves_of_a_path_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        parse(*arguments)


def test_paths_may_hold_any_letters():
    run_config, _, _ = parse('./$DATA', './~a b[1]*')
    assert (run_config.data_dir, run_config.model_output_dir) == ('./$DATA', './~a b[1]*')


def test_help_without_docstrings_is_help(capsys):
    with pytest.raises(SystemExit):
        flags.parse(['train.py', '--help'], None, RunConfig)
    assert '--data_dir' in capsys.readouterr().out
