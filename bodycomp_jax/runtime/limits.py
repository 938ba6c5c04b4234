"""Limits of the operating system under which JAX would abort without a message."""

import os
import resource
import threading

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.arithmetic import num_cores

ADDRESS_SPACE, ADDRESS_SPACE_PER_CORE = 5 << 29, 1 << 28  # bytes that JAX takes; few are used
MIN_OPEN_FILES = 64
ENOUGH_OPEN_FILES = 4096
THREADS, THREADS_PER_CORE = 16, 4  # that JAX and Orbax start


def refuse_small_limits() -> None:
    """Raises InputError if this process may not have the memory, files or threads it needs.

    Raises the soft limit of open files as far as the hard one allows.
    """
    cores = num_cores(os.environ)
    space, _ = resource.getrlimit(resource.RLIMIT_AS)  # -1 without a limit
    needed = ADDRESS_SPACE + ADDRESS_SPACE_PER_CORE * cores
    if 0 <= space < needed:
        raise InputError(
            f'the limit of the address space is {space / 1e6:,.0f} MB (ulimit -v), but JAX needs '
            f'{needed / 1e6:,.0f} MB on {cores} cores; raise it, or remove it (ulimit -v unlimited)'
        )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < ENOUGH_OPEN_FILES:
        soft = ENOUGH_OPEN_FILES if hard < 0 else min(hard, ENOUGH_OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if 0 <= soft < MIN_OPEN_FILES:
        raise InputError(
            f'the limit of open files is {soft} (ulimit -n), but {MIN_OPEN_FILES} are needed; '
            'raise it'
        )
    _refuse_few_threads(THREADS + THREADS_PER_CORE * cores)


def _refuse_few_threads(needed: int) -> None:
    """Starts the threads and ends them: the limits of users and of containers differ."""
    end = threading.Event()
    threads = [threading.Thread(target=end.wait, daemon=True) for _ in range(needed)]
    started = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise InputError(
            f'only {len(started)} threads could be started of the {needed} that are needed; raise '
            'the limit of processes (ulimit -u, or that of the container), or end other processes '
            'of this user'
        ) from error
    finally:
        end.set()
        for thread in started:
            thread.join()
