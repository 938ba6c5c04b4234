"""Errors that a user can cause or resolve; programs print their message without a traceback."""


class InputError(ValueError):
    """Wrong usage or invalid input, found before any work began. Exit code 2."""


class RunError(RuntimeError):
    """Work that began and failed. Exit code 1."""


class Stopped(Exception):
    """Work that a signal ended early. Exit code 128 + the number of the signal."""

    def __init__(self, signal_number: int):
        super().__init__(signal_number)
        self.signal_number = signal_number
