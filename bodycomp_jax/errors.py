"""The errors a user can cause or cure; programs print their message and no traceback."""


class InputError(ValueError):
    """Wrong usage or wrong input, found before any work began. Exit code 2."""


class WorkError(RuntimeError):
    """Work that was begun and failed. Exit code 1."""
