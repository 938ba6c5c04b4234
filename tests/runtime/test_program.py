"""How programs end."""

import os
import subprocess

import pytest
from helpers import command

from bodycomp_jax.errors import InputError, RunError, Stopped
from bodycomp_jax.runtime import program


@pytest.mark.parametrize(
    ('error', 'code'),
    [
        (InputError('no such file'), 2),
        (RunError('disk full'), 1),
        (OSError('gone'), 1),
        (KeyboardInterrupt(), 130),
        (Stopped(15), 143),
    ],
)
def test_errors_end_the_program_with_a_message_and_a_code(capsys, error, code):
    def main(argv):
        raise error

    with pytest.raises(SystemExit) as end:
        program.run(main)
    assert end.value.code == code
    message = 'interrupted' if isinstance(error, KeyboardInterrupt) else str(error)
    printed = capsys.readouterr().err
    if isinstance(error, Stopped):  # the training prints its own message
        assert not printed
    else:
        assert printed.endswith(f': {message}\n')


def test_an_unexpected_error_ends_the_program_with_its_traceback(capsys):
    def main(argv):
        raise KeyError('a mistake in the program')

    with pytest.raises(SystemExit) as end:
        program.run(main)
    assert end.value.code == 1
    assert 'in main\n' in (printed := capsys.readouterr().err)
    assert printed.endswith("KeyError: 'a mistake in the program'\n")


def test_a_program_without_errors_ends_with_0(capsys):
    with pytest.raises(SystemExit) as end:
        program.run(lambda argv: print(len(argv) > 0))
    assert end.value.code == 0
    assert capsys.readouterr() == ('True\n', '')


@pytest.mark.processes
def test_a_platform_without_devices_is_wrong_usage(data_dir, tmp_path):
    ended = subprocess.run(
        command(data_dir, tmp_path),
        env={**os.environ, 'JAX_PLATFORMS': 'cuda'},
        capture_output=True,
        text=True,
        check=False,
    )
    if 'train ' in ended.stdout:
        pytest.skip('this machine has a GPU')
    assert ended.returncode == 2
    assert 'JAX found no device to compute on' in ended.stderr
    assert 'Traceback' not in ended.stderr
