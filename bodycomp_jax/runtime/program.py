"""How every program ends: messages instead of tracebacks, and exit codes."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from bodycomp_jax.errors import InputError, RunError, Stopped
from bodycomp_jax.runtime import processes


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Runs a program and ends the process.

    Exit codes: 0 done, 1 failed, 2 wrong usage or invalid input, 128 + n ended by signal n.
    """
    _silence_orbax()
    try:
        main(sys.argv)
    except (InputError, RunError, OSError, Stopped, KeyboardInterrupt) as error:
        _end(error, _message(error), _exit_code(error))
    except Exception as error:
        traceback.print_exc()
        _end(error, '', 1)
    sys.exit(0)


def _end(error: BaseException, message: str, code: int) -> NoReturn:
    """Prints an error once per job and ends the process.

    A process that fails alone does not wait for the others, which wait for it.
    """
    shared = getattr(error, 'on_all_processes', False)
    if message and (processes.is_main_process() or not shared):
        prefix = '' if shared else processes.message_prefix()
        print(f'{os.path.basename(sys.argv[0])}: {prefix}{message}', file=sys.stderr)
    if not shared:
        processes.exit_alone(code)
    sys.exit(code)


def _message(error: BaseException) -> str:
    if isinstance(error, Stopped):  # the training has printed it
        return ''
    return 'interrupted' if isinstance(error, KeyboardInterrupt) else str(error)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, Stopped):
        return 128 + error.signal_number
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return 2 if isinstance(error, InputError) else 1


def _silence_orbax() -> None:
    """Drops Orbax's log of every save and of the errors that it also raises."""
    for logger in ('absl', 'asyncio'):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
