"""How programs begin and end."""

import errno
import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest
from helpers import command, read_rows

from bodycomp_jax.errors import InputError, RunError, Stopped
from bodycomp_jax.runtime import program

TINY = ('-C', '4,8', '-M', '4', '-b', '4', '-e', '1', '-g', '1', '--name', 'run')


@pytest.mark.parametrize(
    ('error', 'code', 'message'),
    [
        (InputError('no such file'), 2, 'no such file'),
        (RunError('disk full'), 1, 'disk full'),
        (OSError(errno.EIO, 'Input/output error', 'x.npy'), 1, 'x.npy: Input/output error; the di'),
        (MemoryError('of 8 GB'), 1, r'out of memory \(of 8 GB\); free some'),
        (KeyboardInterrupt(), 130, 'interrupted'),
        (Stopped(15), 143, ''),  # the training prints its own message
        (SystemExit(0), 0, ''),
        (SystemExit(3), 3, ''),
        (SystemExit(None), 0, ''),
    ],
)
def test_errors_end_the_program_with_a_message_and_a_code(
    capsys, monkeypatch, error, code, message
):
    def main(argv):
        raise error

    monkeypatch.setattr('sys.argv', ['train'])
    assert program.exit_code(main) == code
    printed = capsys.readouterr().err
    if message:
        assert re.match(f'train: {message}', printed)
        assert len(printed.splitlines()) == 1
    else:
        assert not printed


def test_a_text_on_which_a_program_ends_is_its_error(capsys):
    def main(argv):
        sys.exit('nothing to do')

    assert program.exit_code(main) == 1
    assert capsys.readouterr().err == 'nothing to do\n'


def test_an_unexpected_error_ends_the_program_with_its_traceback(capsys):
    def main(argv):
        raise KeyError('a mistake in the program')

    assert program.exit_code(main) == 1
    assert 'in main\n' in (printed := capsys.readouterr().err)
    assert printed.endswith("KeyError: 'a mistake in the program'\n")


def test_a_program_without_errors_ends_with_0(capsys):
    assert program.exit_code(lambda argv: print(len(argv) > 0)) == 0
    assert capsys.readouterr() == ('True\n', '')


def run_python(code, **options):
    """Runs code in a new Python process."""
    return subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True, **options
    )


@pytest.mark.processes
def test_a_program_ends_at_once_whatever_threads_are_at_work():
    done = run_python(
        """
        import threading, time
        from bodycomp_jax.runtime import program
        program.run(lambda argv: threading.Thread(target=time.sleep, args=(600,)).start())
        """,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.processes
@pytest.mark.parametrize(
    ('limit', 'message'),
    [
        ('resource.RLIMIT_AS, (2 << 30, 2 << 30)', '2,147 MB (ulimit -v), but JAX needs'),
        ('resource.RLIMIT_NOFILE, (16, 16)', 'is 16 (ulimit -n), but 64 are needed'),
    ],
)
def test_limits_under_which_jax_would_abort_are_refused(limit, message):
    done = run_python(
        f"""
        import resource
        resource.setrlimit({limit})
        from bodycomp_jax.programs import run_train_segmentation
        run_train_segmentation()
        """
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.processes
def test_ctrl_c_during_imports_ends_the_program_without_a_traceback():
    done = run_python(
        """
        import builtins, os, signal
        import bodycomp_jax.programs
        imported = builtins.__import__
        def interrupted(name, *args, **more):
            if name == 'jax':
                os.kill(os.getpid(), signal.SIGINT)
            return imported(name, *args, **more)
        builtins.__import__ = interrupted
        bodycomp_jax.programs.run_train_segmentation()
        """
    )
    assert done.returncode == -signal.SIGINT
    assert not done.stderr


@pytest.mark.processes
def test_a_working_folder_that_was_deleted_is_said(tmp_path):
    done = run_python(
        f"""
        import os, sys
        os.chdir({str(tmp_path)!r})
        os.rmdir({str(tmp_path)!r})
        program = 'from bodycomp_jax.programs import run_demo; run_demo()'
        os.execv(sys.executable, [sys.executable, '-c', program])
        """
    )
    assert done.returncode == 2
    assert 'the working folder is not there' in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.processes
def test_training_outlives_its_streams_and_ignores_variables_that_change_it(data_dir, tmp_path):
    """Standard input is closed, output full, and nobody reads the errors."""
    read, write = os.pipe()
    os.close(read)
    with open('/dev/full', 'w') as full:
        ended = subprocess.run(
            ['sh', '-c', 'exec "$@" <&-', 'sh', *command(data_dir, tmp_path, *TINY)],
            stdout=full,
            stderr=write,
            env={**os.environ, 'JAX_ENABLE_X64': '1', 'JAX_DISABLE_JIT': 'nonsense'},
            check=False,
        )
    os.close(write)
    assert ended.returncode == 0
    assert len(read_rows(tmp_path / 'run' / 'metrics.csv')) == 1
    assert (tmp_path / 'run' / 'final_model').is_dir()


@pytest.mark.processes
def test_help_into_a_closed_pipe_is_no_error():
    done = subprocess.run(
        ['sh', '-c', '{ "$@"; echo $? >&2; } | true', 'sh', *command('--help')],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == '0\n'


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
