"""Files that are written whole or not at all, what may be read, and what an error means."""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from typing import IO, Any

from bodycomp_jax.errors import InputError

PERMISSIONS = 'change the permissions (chmod) or choose another path'
DISK_FAILS = 'the disk or the network drive fails; repeat the same command once it works again'
DISK_ERRORS = (  # also those of a network drive whose server does not answer
    errno.EIO, errno.ENXIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ESHUTDOWN,
    errno.EHOSTDOWN,
)  # fmt: skip
HASH_DIGITS = 16  # of what identifies a content
FILES_OPEN = 'too many files are open; raise the limit (ulimit -n)'
REMEDIES = {
    errno.ENOSPC: 'free some space on this disk',
    errno.EDQUOT: 'free some of your quota on this disk',
    errno.EFBIG: 'raise the limit of file sizes (ulimit -f) or choose another disk',
    errno.EACCES: PERMISSIONS,
    errno.EPERM: PERMISSIONS,
    errno.EROFS: 'this disk is read-only; choose another path',
    **dict.fromkeys(DISK_ERRORS, DISK_FAILS),
    errno.EMFILE: FILES_OPEN,
    errno.ENFILE: FILES_OPEN,
    errno.ENAMETOOLONG: 'choose a shorter name',
    errno.ELOOP: 'give a path without symbolic links',
    errno.ENOENT: 'check the path',
    errno.ENOTDIR: 'check the path',
    errno.EISDIR: 'a folder is where a file must be; move it away',
    errno.EEXIST: 'a file is where a folder must be; move it away',
    errno.ENOMEM: 'free some memory',
}


def explained(error: OSError, path: str | os.PathLike[str] | None = None) -> str:
    """The file, what is wrong, and the remedy.

    Args:
      error: of the operating system.
      path: of the file, if the error does not name it.
    """
    file = error.filename if path is None else path
    reason = error.strerror or str(error)
    remedy = REMEDIES.get(error.errno or 0)
    return f'{f"{os.fspath(file)}: " if file else ""}{reason}{f"; {remedy}" if remedy else ""}'


def open_regular_file(path: str | os.PathLike[str]) -> int:
    """A file descriptor for reading; never waits for the writer of a pipe.

    Raises InputError if it cannot be opened or is not a regular file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f'{os.fspath(path)}: cannot be opened ({explained(error, "")})') from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InputError(f'{os.fspath(path)}: not a regular file; give a file on disk')
    return fd


def fingerprint(path: str) -> str:
    """Identifies the content of a file. Raises InputError if it cannot be read."""
    with os.fdopen(open_regular_file(path), 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()[:HASH_DIGITS]


@contextlib.contextmanager
def replacing(path: str, *, binary: bool = False) -> Iterator[IO[Any]]:
    """A file that replaces `path` when the block ends without an error.

    An OSError names the path.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f'.{name}.new')
    try:
        with _new_file(temporary, binary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if isinstance(error, OSError) and error.filename in (None, temporary):
            error.filename = os.fspath(path)
        raise


def _new_file(path: str, binary: bool) -> IO[Any]:
    """A file that replaces what a process that was killed left; follows no link.

    Text is UTF-8 whatever the locale; bytes of a path that are not are written as escapes.
    """
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)
    if binary:
        return open(path, 'xb')
    return open(path, 'x', newline='', encoding='utf-8', errors='backslashreplace')


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
    try:
        os.lstat(folder)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise InputError(explained(error)) from error
    existing = existing_folder(folder)
    if not os.path.isdir(existing):
        raise InputError(f'{folder}: {existing} is not a folder; choose another output folder')
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(
            f'{folder}: {existing} is not writable for this user; choose another output folder'
        )
