"""The folder of a run: its name, and a lock that admits one process at a time."""

import contextlib
import datetime
import fcntl
import os
import socket
import unicodedata
from collections.abc import Iterator

from bodycomp_jax.config import RunConfig
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import refuse_unwritable
from bodycomp_jax.runtime.processes import on_main_process

DEFAULT_NAME = 'untitled_model_%Y_%m_%d_%H_%M_%S_%f'  # jobs may start in the same second
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 3800  # Linux allows 4095; those of the files in a checkpoint are longer by 150
LOCK = '.lock'


@on_main_process
def run_folder(run: RunConfig) -> str:
    """The path of the run's folder, MODEL_OUTPUT_DIR/NAME; creates nothing.

    Raises InputError if the name is not a plain folder name or looks like that of another run, the
    path is too long or not UTF-8, the folder is not writable, or it holds something other than a
    run.
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
    _refuse_unusable_path(run_dir)
    refuse_unwritable(run_dir)
    _refuse_other_spelling(run.model_output_dir, name)
    if os.path.isdir(run_dir) and os.listdir(run_dir) and not _is_run(run_dir):
        raise InputError(
            f'{run_dir}: this folder holds files that are not a run; choose another --name'
        )
    return run_dir


@contextlib.contextmanager
def locked(run_dir: str) -> Iterator[None]:
    """Creates the folder and locks it for the block; the kernel unlocks it when the process ends.

    Raises InputError if another process of this host holds the lock.
    """
    os.makedirs(run_dir, exist_ok=True)
    with open(os.path.join(run_dir, LOCK), 'a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f'{run_dir}: {file.read().strip() or "another process"} is training in this '
                'folder; wait for it, or give another --name'
            ) from None
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
        file.flush()
        yield


def _refuse_unusable_path(run_dir: str) -> None:
    """Raises InputError for a path under which no checkpoint could be saved."""
    path = os.fsencode(os.path.abspath(run_dir))
    if len(path) > MAX_PATH_BYTES:
        raise InputError(
            f'{run_dir}: a path of {len(path)} bytes, but checkpoints need one of at most '
            f'{MAX_PATH_BYTES}; choose an output folder with a shorter path'
        )
    try:
        path.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f'{run_dir}: the path is not valid UTF-8, which checkpoints need; rename the folder, '
            'or choose another output folder'
        ) from error


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


def _is_run(folder: str) -> bool:
    """Whether a training ever started in this folder, however soon it ended."""
    return any(os.path.exists(os.path.join(folder, name)) for name in ('args.json', LOCK))
