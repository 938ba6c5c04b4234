"""How programs begin and end."""

import errno

import pytest

from bodycomp_jax.errors import InputError, RunError, Stopped
from bodycomp_jax.runtime import program


@pytest.mark.parametrize(
    ('error', 'code', 'message'),
    [
        (InputError('no such file'), 2, 'no such file'),
        (RunError('disk full'), 1, 'disk full'),
        (OSError(errno.EIO, 'Input/output error', 'x.npy'), 1, 'x.npy: Input/output error; the di'),
        (MemoryError('of 8 GB'), 1, r'out of memory \(of 8 GB\); lower --batch_size'),
        (KeyboardInterrupt(), 130, 'interrupted'),
        (Stopped(15), 143, ''),  # the training prints its own message
        (SystemExit(0), 0, ''),
        (SystemExit(3), 3, ''),
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
        (pytest.importorskip('re')).match(f'train: {message}', printed)
        assert len(printed.splitlines()) == 1
    else:
        assert not printed


def test_an_unexpected_error_ends_the_program_with_its_traceback(capsys):
    def main(argv):
        raise KeyError('a mistake in the program')

    assert program.exit_code(main) == 1
    assert 'in main\n' in (printed := capsys.readouterr().err)
    assert printed.endswith("KeyError: 'a mistake in the program'\n")


def test_a_program_without_errors_ends_with_0(capsys):
    assert program.exit_code(lambda argv: print(len(argv) > 0)) == 0
    assert capsys.readouterr() == ('True\n', '')
