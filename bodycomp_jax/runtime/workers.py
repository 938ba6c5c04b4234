"""Work that is shared out among processes of this host."""

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from bodycomp_jax.errors import RunError

Item = TypeVar('Item')
Result = TypeVar('Result')


def shared_out(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """The results of a function for each item, as they come.

    Args:
      function: of a module; a single worker is this process.
      items: what it is called with.
      workers: processes.

    Raises what the function raises, and RunError if a worker is killed; the others end at once
    then, and when this process ends, however it does.
    """
    if min(workers, len(items)) <= 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context('spawn')  # no thread of this process is copied
    with concurrent.futures.ProcessPoolExecutor(
        min(workers, len(items)), context, _end_with_parent
    ) as pool:
        futures = _submitted(pool, function, items)
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise RunError(
                'a process that shared the work was killed, maybe since memory ran out; repeat '
                'the command with fewer --workers'
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if not all(future.done() for future in futures):
                for process in multiprocessing.active_children():
                    process.terminate()


def _submitted(
    pool: concurrent.futures.ProcessPoolExecutor,
    function: Callable[[Item], Result],
    items: Sequence[Item],
) -> list[concurrent.futures.Future[Result]]:
    """The work of a pool, whose processes inherit that Ctrl-C is blocked: it is for this one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return [pool.submit(function, item) for item in items]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for_end, args=(parent,), daemon=True).start()


def _wait_for_end(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
