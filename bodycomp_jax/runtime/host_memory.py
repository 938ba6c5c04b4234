"""Memory of the host that this process may use: a container or a batch job may allow less of it."""

import os
from collections.abc import Iterator

import psutil

CGROUPS = '/sys/fs/cgroup'
OWN_CGROUPS = '/proc/self/cgroup'


def total_bytes() -> int:
    """The memory of the host, or less if the control groups of this process allow less."""
    return min([psutil.virtual_memory().total, *_limits()])


def available_bytes() -> int:
    """The memory that is free, page cache included, and still allowed to this process."""
    used = psutil.Process().memory_info().rss
    left = [max(0, limit - used) for limit in _limits()]
    return min([psutil.virtual_memory().available, *left])


def _limits() -> Iterator[int]:
    """The limits of the control groups (Docker, Kubernetes, Slurm) of this process.

    A group is bound by its parents as well. In a container the path of its own group may not
    exist; that of the container is then the root.
    """
    for root, group, name in _groups():
        folder = os.path.normpath(f'{root}/{group}')
        while len(folder) >= len(root):
            try:
                with open(os.path.join(folder, name)) as file:
                    text = file.read().strip()
            except OSError:
                text = 'max'
            if text != 'max':
                yield int(text)
            folder = os.path.dirname(folder)


def _groups() -> Iterator[tuple[str, str, str]]:
    """(root, group, file with the limit) of each hierarchy that limits memory."""
    try:
        with open(OWN_CGROUPS) as file:
            lines = file.read().splitlines()
    except OSError:  # a system without control groups
        return
    for line in lines:
        _, controllers, group = line.split(':', 2)
        if controllers == '':
            yield CGROUPS, group, 'memory.max'
        elif 'memory' in controllers.split(','):
            yield f'{CGROUPS}/memory', group, 'memory.limit_in_bytes'
