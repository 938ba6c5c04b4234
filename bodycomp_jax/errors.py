"""The errors a user can cause or cure; programs print their message and no traceback."""


class InputError(ValueError):
    """Wrong usage or wrong input, found before any work began. Exit code 2."""

    everywhere = False


class WorkError(RuntimeError):
    """Work that was begun and failed. Exit code 1."""

    everywhere = False


class Stopped(Exception):
    """Work that ended early because a signal asked for it. Exit code 128 + the signal's number."""

    everywhere = True

    def __init__(self, signal_number):
        super().__init__(signal_number)
        self.signal_number = signal_number


def everywhere(error):
    """The same error, marked as one that every process of the job raises alike."""
    error.everywhere = True
    return error
