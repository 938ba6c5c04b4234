"""The folder of a run: its name, and a lock that admits one process at a time."""

import contextlib
import datetime
import errno
import fcntl
import os
import socket
import stat
import unicodedata
from collections.abc import Callable
from typing import IO

from bodycomp_jax.config import RunConfig
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.runtime.files import explained, refuse_unwritable
from bodycomp_jax.runtime.processes import on_main_process

DEFAULT_NAME = 'untitled_model_%Y_%m_%d_%H_%M_%S_%f'  # jobs may start in the same second
MAX_NAME_BYTES = 255
LOCK = '.lock'
OWN_FOLDERS = ('checkpoints', 'final_model', 'tensorboard_log')
MARKS = ('args.json', LOCK)  # at least one is in every folder of a run


@on_main_process
def run_folder(run: RunConfig) -> str:
    """The path of the run's folder, MODEL_OUTPUT_DIR/NAME; creates nothing.

    Raises InputError if the name is not a plain folder name or looks like that of another run, the
    folder or one in it is not writable, or it holds something other than a run.
    """
    name = run.name
    if name is None:
        name = datetime.datetime.now().strftime(DEFAULT_NAME)
    plain = name.isprintable() and name == name.strip() and not set(name) & {'/', '\\'}
    if name in ('', '.', '..') or not plain or len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise InputError(
            f'invalid --name={name!r}: expected a plain folder name of at most {MAX_NAME_BYTES} '
            'bytes, without / and \\ and without spaces at either end'
        )
    run_dir = os.path.join(run.model_output_dir, name)
    refuse_unwritable(run_dir)
    _refuse_other_spelling(run.model_output_dir, name)
    if os.path.isdir(run_dir) and os.listdir(run_dir) and not _has_marks(run_dir):
        raise InputError(
            f'{run_dir}: this folder holds files that are not a run; choose another --name'
        )
    for own in OWN_FOLDERS:
        for folder, _, _ in os.walk(os.path.join(run_dir, own)):
            if not os.access(folder, os.W_OK | os.X_OK):
                raise InputError(
                    f'{folder}: not writable for this user; let its owner run chmod -R g+w '
                    f'{run_dir}, or give another --name'
                )
    return run_dir


class RunLock:
    """A context in which the folder of a run exists, and is this job's alone.

    The kernel unlocks it when the process ends. Every process of a job calls every method; the
    main process locks.
    """

    def __init__(self, run_dir: str, warn: Callable[[str], None]):
        """`warn` is told if the file system has no locks."""
        self._run_dir, self._warn = run_dir, warn
        self._path = os.path.join(run_dir, LOCK)
        self._is_locked = False
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> 'RunLock':
        self._lock()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @on_main_process
    def _lock(self) -> None:
        """Raises InputError if another process of this host holds the lock."""
        os.makedirs(self._run_dir, exist_ok=True)
        with contextlib.ExitStack() as opened:
            file = opened.enter_context(_open_lock(self._path))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._is_locked = True
            except BlockingIOError:
                raise InputError(
                    f'{self._run_dir}: {file.read().strip() or "another process"} is training in '
                    'this folder; wait for it, or give another --name'
                ) from None
            except OSError as error:
                self._warn(
                    f'{self._path}: cannot be locked on this file system '
                    f'({explained(error, "")}); make sure that no other process trains in this '
                    'folder'
                )
            if file.writable():
                self._write_holder(file.fileno())
            self._opened = opened.pop_all()

    def _write_holder(self, fd: int) -> None:
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f'{_this_process()}\n'.encode(), 0)
        except OSError as error:
            error.filename = self._path
            raise

    @on_main_process
    def refuse_loss(self) -> None:
        """Raises RunError if the folder was deleted, moved or taken over while the run trained."""
        if not _has_marks(self._run_dir):
            raise RunError(
                f'{self._run_dir}: the folder of this run was deleted or moved while it trained; '
                'if it was moved, move it back and run the same command again to continue'
            )
        if self._is_locked:
            return
        with contextlib.suppress(OSError), open(self._path) as file:
            holder = file.readline().strip()
            if holder != _this_process() and os.access(self._path, os.W_OK):
                raise RunError(
                    f'{self._run_dir}: {holder} trains in this folder as well, and goes on alone; '
                    'this file system has no locks, so give each run its own --name'
                )


def _has_marks(run_dir: str) -> bool:
    """Whether a folder is that of a run, and not one that a save in the background made anew."""
    for name in MARKS:
        try:
            os.lstat(os.path.join(run_dir, name))
        except FileNotFoundError:
            continue
        except OSError:  # a network drive that fails for a moment
            return True
        return True
    return False


def _this_process() -> str:
    return f'process {os.getpid()} on {socket.gethostname()}'


def _refuse_other_spelling(output_dir: str, name: str) -> None:
    """Raises InputError if another run has this name in another Unicode normal form.

    macOS and some network drives write an umlaut as a letter and a diaeresis.
    """
    if name.isascii() or not os.path.isdir(output_dir):
        return
    names = os.listdir(output_dir)
    same = [other for other in names if _normal_form(other) == _normal_form(name)]
    if same and name not in names:
        raise InputError(
            f'{os.path.join(output_dir, same[0])}: this folder has the name {name!r} in another '
            'Unicode form; let the shell complete its name (Tab) to continue it, or give another '
            '--name'
        )


def _normal_form(name: str) -> str:
    return unicodedata.normalize('NFC', name)


def _open_lock(path: str) -> IO[str]:
    """The lock, which another user may own; follows no link and waits for no pipe."""
    flags = os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        try:
            fd, mode = os.open(path, flags | os.O_RDWR, 0o666), 'r+'
        except PermissionError:
            fd, mode = os.open(path, flags & ~os.O_CREAT | os.O_RDONLY), 'r'
    except PermissionError as error:
        raise InputError(
            f'{path}: not readable for this user; let its owner run chmod g+rw {path}, or give '
            'another --name'
        ) from error
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
        raise InputError(
            f'{path}: not a regular file; remove it, or give another --name'
        ) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InputError(f'{path}: not a regular file; remove it, or give another --name')
    return open(fd, mode)
