"""Work that is shared out among processes of this host."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from bodycomp_jax.errors import RunError

Item = TypeVar('Item')
Result = TypeVar('Result')


def shared_out(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """The results of a function for each item, as they come.

    Args:
      function: of a module.
      items: what it is called with.
      workers: processes; a single one is this one.

    To be called in the main thread. Raises what the function raises, and RunError if a worker is
    killed. The workers end with the iterator, and with this process, however it ends.
    """
    if min(workers, len(items)) <= 1:
        yield from map(function, items)
        return
    todo = list(reversed(items))
    with _started(function, min(workers, len(items))) as connections:
        for connection in connections:
            connection.send(todo.pop())
        for _ in items:
            yield _next_result(connections, todo)


def _next_result(connections: Sequence[Connection], todo: list[Any]) -> Any:
    """The result of the worker that is done first, which is given the last item to do."""
    connection = wait(connections)[0]
    assert isinstance(connection, Connection)
    try:
        error, result = connection.recv()
        if todo:
            connection.send(todo.pop())
    except (EOFError, ConnectionError) as end:
        raise RunError(
            'a process that shared the work was killed, maybe since memory ran out; repeat the '
            'command with fewer --workers'
        ) from end
    if error is not None:
        raise error
    return result


@contextlib.contextmanager
def _started(function: Callable[[Any], Any], count: int) -> Iterator[list[Connection]]:
    """Connections to so many workers, which end with the block."""
    context = multiprocessing.get_context('spawn')  # no thread of this process is copied
    pairs = [context.Pipe() for _ in range(count)]
    processes = [
        context.Process(target=_work, args=(function, theirs), daemon=True) for _, theirs in pairs
    ]
    # They inherit that Ctrl-C, which the terminal sends to all processes, is ignored.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for process, (_, theirs) in zip(processes, pairs, strict=True):
            process.start()
            theirs.close()  # so that the other end shows when the process ends
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield [ours for ours, _ in pairs]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _work(function: Callable[[Any], Any], connection: Connection) -> None:
    """Answers each item with (error, result)."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):  # the parent is gone
        while True:
            item = connection.recv()
            try:
                result = function(item)
            except Exception as error:
                connection.send((error, None))
            else:
                connection.send((None, result))


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
