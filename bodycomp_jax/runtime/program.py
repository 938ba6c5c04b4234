"""How every program begins and ends: messages instead of tracebacks, and exit codes.

Does not import JAX, which reads the environment when it is imported.
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from bodycomp_jax.errors import InputError, RunError, Stopped
from bodycomp_jax.runtime import arithmetic, job, limits, streams
from bodycomp_jax.runtime.files import explained

Main = Callable[[list[str]], None]


def run(main: Main) -> NoReturn:
    """Runs a program and ends the process, whatever threads are still at work.

    Exit codes: 0 done, 1 failed, 2 wrong usage or invalid input, 128 + n ended by signal n.
    """
    streams.make_unfailing()
    _silence_orbax()
    _end_on_ignored_interrupts()

    def checked_main(argv: list[str]) -> None:
        _refuse_missing_folder()
        limits.refuse_small_limits()
        for name in arithmetic.drop_variables(os.environ):
            print(f'WARNING: {name} is ignored: it would change the results', file=sys.stderr)
        main(argv)

    code = exit_code(checked_main)
    if not job.is_alone():
        from bodycomp_jax.runtime import launch  # and with it JAX, which is imported by now

        launch.leave()
    _end_at_once(code)


def exit_code(main: Main) -> int:
    """Runs a program and prints its error, once per job; returns the exit code, see `run`.

    A process that fails alone ends here: it does not wait for the others, which wait for it.
    """
    try:
        main(sys.argv)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException as error:
        code = _code(error)
        shared = getattr(error, 'on_all_processes', False)
        if job.is_main_process() or not shared:
            _print(error, '' if shared else job.message_prefix())
        if not (shared or job.is_alone()):
            _end_at_once(code)
        return code
    return 0


def _end_at_once(code: int) -> NoReturn:
    """Ends the process without waiting for its threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _print(error: BaseException, prefix: str) -> None:
    if isinstance(error, Stopped):  # the training has printed it
        return
    if isinstance(error, InputError | RunError):
        message = str(error)
    elif isinstance(error, OSError):
        message = explained(error)
    elif isinstance(error, KeyboardInterrupt):
        message = 'interrupted'
    elif isinstance(error, MemoryError):
        reason = f' ({error})' if str(error) else ''
        message = f'out of memory{reason}; free some, or use a machine with more of it'
    else:
        traceback.print_exception(error)
        return
    print(f'{os.path.basename(sys.argv[0])}: {prefix}{message}', file=sys.stderr)


def _code(error: BaseException) -> int:
    if isinstance(error, Stopped):
        return 128 + error.signal_number
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return 2 if isinstance(error, InputError) else 1


def _refuse_missing_folder() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(
            f'the working folder is not there ({error.strerror}); change to another one (cd) '
            'and repeat the command'
        ) from error


def _silence_orbax() -> None:
    """Drops its log of every save, and of the errors that it also raises."""
    for logger in ('absl', 'asyncio'):
        logging.getLogger(logger).setLevel(logging.CRITICAL)


def _end_on_ignored_interrupts() -> None:
    """Ends the process if Ctrl-C interrupts what ignores exceptions, such as a destructor."""
    print_error = sys.unraisablehook

    def end_if_interrupted(unraisable):
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            _print(unraisable.exc_value, '')
            _end_at_once(_code(unraisable.exc_value))
        print_error(unraisable)

    sys.unraisablehook = end_if_interrupted
