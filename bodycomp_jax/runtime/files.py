"""Files that are written whole or not at all, and folders that may be written to."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import IO, Any

from bodycomp_jax.errors import InputError


@contextlib.contextmanager
def replacing(path: str, *, binary: bool = False) -> Iterator[IO[Any]]:
    """A file that replaces `path` when the block ends without an error."""
    temporary = f'{path}.tmp'
    try:
        with open(temporary, 'wb') if binary else open(temporary, 'w', newline='') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


def existing_folder(folder: str) -> str:
    """The folder, or its nearest parent that exists."""
    existing = os.path.abspath(folder)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    return existing


def free_bytes(folder: str) -> int:
    """Free space on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(existing_folder(folder)).free


def refuse_unwritable(folder: str) -> None:
    """Raises InputError if the folder neither is writable nor can be created."""
    existing = existing_folder(folder)
    if not os.path.isdir(existing):
        raise InputError(f'{folder}: {existing} is not a folder; choose another output folder')
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(
            f'{folder}: {existing} is not writable for this user; choose another output folder'
        )
