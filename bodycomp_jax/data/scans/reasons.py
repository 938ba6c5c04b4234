"""Why a file, or a part of it, is not taken."""

import contextlib
import dataclasses
from collections.abc import Iterator

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import explained


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A file, or the series that begins with it, that is not taken, and the reason."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}'


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """InputErrors of the block name this file; those of the system become InputErrors."""
    try:
        yield
    except OSError as error:
        raise InputError(explained(error, path)) from error
    except InputError as error:
        raise type(error)(f'{path}: {str(error).removeprefix(f"{path}: ")}') from error


def skipped(path: str, error: InputError) -> Skipped:
    """What is not taken because of an error that names the path."""
    return Skipped(path, str(error).removeprefix(f'{path}: '))
