"""Folders that are written whole or not at all."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import refuse_unwritable


@contextlib.contextmanager
def new_folder(path: str) -> Iterator[str]:
    """A folder beside `path` that becomes it when the block ends without an error.

    What a process that was killed left there is removed first.

    Raises InputError if `path` holds anything, is where a disk is mounted, cannot be written, or
    another process writes it.
    """
    path = os.path.realpath(path)
    parent, name = os.path.split(path)
    refuse_unwritable(path)
    refuse_unwritable(parent)
    if os.path.ismount(path):
        raise InputError(f'{path}: a disk is mounted here; choose a new folder in it')
    if os.path.isdir(path) and os.listdir(path):
        raise InputError(f'{path}: this folder holds files; remove it, or choose another one')
    os.makedirs(parent, exist_ok=True)
    aside = os.path.join(parent, f'.{name}.new')
    with locked(aside, path):
        try:
            for left in [*os.scandir(aside)]:
                shutil.rmtree(left) if left.is_dir(follow_symlinks=False) else os.remove(left)
            yield aside
            os.rename(aside, path)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


@contextlib.contextmanager
def locked(folder: str, path: str) -> Iterator[None]:
    """A folder exists and is this process's alone; the kernel unlocks it at the end.

    Args:
      folder: in a folder that exists.
      path: what the process writes, for messages.

    Raises InputError if another process has it.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not _lock(fd) or not os.path.lexists(folder):  # the other process has finished it
            raise InputError(
                f'{path}: another process writes this folder; wait for it, or choose another one'
            )
        yield
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    """Whether no other process holds the lock; unknown, and so True, where there are no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
