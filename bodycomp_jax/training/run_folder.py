"""A lock on the folder of a run: one process at a time."""

import contextlib
import fcntl
import os
import socket

from bodycomp_jax.errors import InputError


@contextlib.contextmanager
def held(run_dir):
    """Makes and holds `run_dir` for the block; the kernel lets go when the process ends, however.

    Raises InputError if another process of this host holds it.
    """
    os.makedirs(run_dir, exist_ok=True)
    path = os.path.join(run_dir, '.lock')
    with open(path, 'a+') as file:
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
