"""The place of this process in its job: one process, or one per host, or one per GPU."""

# JAX would start its devices to answer, which may fail.
_index, _count = 0, 1


def set_job(index: int, count: int) -> None:
    """Records the index of this process among the `count` processes that `launch.join` found."""
    global _index, _count
    _index, _count = index, count


def is_alone() -> bool:
    """Whether this process is the whole job."""
    return _count == 1


def is_main_process() -> bool:
    """Whether this is the process that reads and writes the run folder."""
    return _index == 0


def message_prefix() -> str:
    """'process 3: ' for the beginning of a message; '' if this process is alone."""
    return '' if is_alone() else f'process {_index}: '
