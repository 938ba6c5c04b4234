"""The models in the folder of a run: their names, what may be read of them, and replacing one."""

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator

from bodycomp_jax.errors import RunError
from bodycomp_jax.runtime.file_formats import START_BYTES, other_format
from bodycomp_jax.runtime.files import explained

FINAL_MODEL, METRICS = 'final_model', 'metrics.csv'
NEW, OLD = f'.{FINAL_MODEL}.new', f'.{FINAL_MODEL}.old'  # while it is replaced
LOST = 'corrupt_checkpoints'
MAX_CONFIG_BYTES = 1 << 20
MAX_DOCUMENT_BYTES = 1 << 25  # of any other file without arrays; 50,000 epochs have 20 MB
MAX_FILES = 10_000  # of a checkpoint; a large one has some hundred
DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL)  # of files that should be there


class CorruptCheckpointError(Exception):
    """A checkpoint on disk that is incomplete, unreadable or not what was saved."""


class OtherArraysError(CorruptCheckpointError):
    """A checkpoint whose arrays are not those that are expected, however sound it may be."""


def checkpoints_dir(run_dir: str) -> str:
    """The folder of all checkpoints of a run."""
    return os.path.join(os.path.abspath(run_dir), 'checkpoints')


def list_checkpoints(run_dir: str) -> list[str]:
    """The folders of the checkpoints of a run, newest first; unfinished saves are left out.

    Raises OSError if the folder is there but cannot be read.
    """
    folder = checkpoints_dir(run_dir)
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    steps = sorted(int(name) for name in names if re.fullmatch(r'0|[1-9]\d{0,17}', name))
    return [os.path.join(folder, str(step)) for step in reversed(steps)]


def step_of(checkpoint: str) -> int:
    """The training step at which a checkpoint was saved."""
    return int(os.path.basename(checkpoint))


def refuse_other_step(checkpoint: str, step: int) -> None:
    """Raises CorruptCheckpointError if a checkpoint has the name of another step than its own."""
    if step != step_of(checkpoint):
        raise CorruptCheckpointError(
            f'it was saved at step {step} and is renamed or copied; its name must be {step}'
        )


def is_model(folder: str) -> bool:
    """Whether a folder is there and has weights. Raises OSError if that cannot be seen."""
    try:
        return stat.S_ISDIR(os.stat(os.path.join(folder, 'variables')).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def bytes_on_disk(run_dir: str) -> int:
    """Size of the checkpoints and the final model of a run."""
    tops = checkpoints_dir(run_dir), os.path.join(run_dir, FINAL_MODEL)
    return sum(os.lstat(path).st_size for top in tops if os.path.isdir(top) for path in files(top))


def files(folder: str) -> Iterator[str]:
    """Every file and link in a folder and those inside it. Raises OSError if one is unreadable."""

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=fail):
        paths = (os.path.join(parent, name) for name in (*folders, *names))
        yield from (path for path in paths if os.path.islink(path) or not os.path.isdir(path))


def refuse_unsafe_files(checkpoint: str) -> None:
    """Raises CorruptCheckpointError for what no save writes, and what may hang or fill the memory.

    That is: links out of the checkpoint, pipes and devices, huge documents, and very many files.
    """
    top = os.path.realpath(checkpoint)
    for count, path in enumerate(files(checkpoint)):
        real = os.path.realpath(path)
        if os.path.commonpath((top, real)) != top:
            raise CorruptCheckpointError(
                f'{path} is a link to {real}; copy the model with its files (cp -rL)'
            )
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise CorruptCheckpointError(f'{path} is not a regular file')
        parent = os.path.basename(os.path.dirname(path))
        most = MAX_CONFIG_BYTES if parent == 'config' else MAX_DOCUMENT_BYTES
        if parent != 'd' and found.st_size > most:
            raise CorruptCheckpointError(
                f'{path} has {found.st_size / 1e6:,.0f} MB, expected at most {most / 1e6:,.0f} MB'
            )
        if count == MAX_FILES:
            raise CorruptCheckpointError(f'it has more than {MAX_FILES:,} files')


def refuse_unreadable(checkpoint: str, error: Exception) -> None:
    """Raises RunError if an error while reading a checkpoint says nothing about its content.

    Such are missing permissions, a disk that fails, a lack of file descriptors or of memory.
    Raises CorruptCheckpointError if a file is of another format, such as a Git LFS pointer.
    """
    found = _os_error(error)
    if found is None or found.errno in DAMAGE:
        try:
            for path in files(checkpoint):
                _read_to_the_end(path)
        except OSError as reading:
            found = reading
    if found is not None and found.errno not in DAMAGE:
        raise RunError(explained(found, found.filename or checkpoint)) from error
    if isinstance(error, MemoryError):
        raise RunError(f'{checkpoint}: not enough memory to read it; free some') from error


def _read_to_the_end(path: str) -> None:
    with open(path, 'rb') as file:
        start = file.read(START_BYTES)
        other = other_format(start, 'copy the model again') if start else None
        if other is not None:
            raise CorruptCheckpointError(f'{path}: {other}')
        while file.read(1 << 20):
            pass


def _os_error(error: BaseException | None) -> OSError | None:
    """The error of the operating system behind an error of Orbax, which may have it as text."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error
        number = re.search(r"(?:OS error |os_error_code=')(\d+)", str(error))
        if number:
            return OSError(int(number[1]), os.strerror(int(number[1])))
        error = error.__cause__ or error.__context__
    return None


def reason(error: Exception) -> str:
    """Why something could not be written: with the remedy, if the operating system says it."""
    found = _os_error(error)
    return first_line(error) if found is None else explained(found)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def causes(errors: dict[str, CorruptCheckpointError]) -> str:
    """{checkpoint: what is wrong with it} as text."""
    return '; '.join(f'{folder}: {error}' for folder, error in errors.items())


def set_aside(checkpoint: str) -> str:
    """Moves a corrupt checkpoint into `corrupt_checkpoints` of its run; returns its new path."""
    run_dir = os.path.dirname(os.path.dirname(checkpoint))
    aside = os.path.join(run_dir, LOST, os.path.basename(checkpoint))
    os.makedirs(os.path.dirname(aside), exist_ok=True)
    path, n = aside, 1
    while os.path.lexists(path):
        path, n = f'{aside}_{n}', n + 1
    os.rename(checkpoint, path)
    return path


@contextlib.contextmanager
def replacing_final_model(run_dir: str) -> Iterator[str]:
    """A folder to fill, which then replaces the final model of a run.

    Between two renames the final model is missing, never incomplete.
    """
    final_model, new, old = (os.path.join(run_dir, name) for name in (FINAL_MODEL, NEW, OLD))
    remove_leftovers(run_dir)
    try:
        yield new
        if os.path.lexists(final_model):
            os.rename(final_model, old)
        os.rename(new, final_model)
    finally:
        remove_leftovers(run_dir)


def remove_leftovers(run_dir: str) -> None:
    """Ends a replacement of the final model that was interrupted."""
    final_model, old = os.path.join(run_dir, FINAL_MODEL), os.path.join(run_dir, OLD)
    if os.path.isdir(old) and not os.path.lexists(final_model):
        os.rename(old, final_model)
    for name in os.listdir(run_dir):
        path = os.path.join(run_dir, name)
        if name.startswith((NEW, OLD)) and os.path.islink(path):
            os.unlink(path)
        elif name.startswith((NEW, OLD)):
            shutil.rmtree(path, ignore_errors=True)
