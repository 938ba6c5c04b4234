"""Errors that a user can cause or resolve; programs print their message without a traceback."""

from collections.abc import Iterable
from typing import Any, TypeVar

MAX_LISTED = 8  # values in a message


class InputError(ValueError):
    """Wrong usage or invalid input, found before any work began. Exit code 2."""

    on_all_processes = False  # whether every process of the job raises it alike


class RunError(RuntimeError):
    """Work that began and failed. Exit code 1."""

    on_all_processes = False


class Stopped(Exception):
    """Work that a signal ended early. Exit code 128 + the number of the signal."""

    on_all_processes = True

    def __init__(self, signal_number: int):
        super().__init__(signal_number)
        self.signal_number = signal_number


Error = TypeVar('Error', InputError, RunError)


def on_all_processes(error: Error) -> Error:
    """The same error, marked as one that every process of the job raises alike."""
    error.on_all_processes = True
    return error


def listed(values: Iterable[Any]) -> str:
    """The values for a message, separated by commas; only the first of many."""
    texts = list(map(str, values))
    return ', '.join(texts[:MAX_LISTED]) + ', ...' * (len(texts) > MAX_LISTED)
