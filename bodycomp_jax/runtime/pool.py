"""Processes to which the threads of this one hand work."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple, TypeVar

from bodycomp_jax.errors import RunError
from bodycomp_jax.runtime.files import explained

OWN_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

Item = TypeVar('Item')
Result = TypeVar('Result')


class Worker(NamedTuple):
    """A process, and the connection by which it is asked and answers."""

    process: BaseProcess
    connection: Connection


class Pool:
    """A context with processes, each of which starts with the first work that needs it.

    They end with the context, whatever they are at, and with this process, however it ends. Signals
    to the whole job do not end them: this process decides what follows.

    Functions are those of modules. What they raise is raised here; RunError if a process ends.
    """

    def __init__(self, count: int) -> None:
        self._threads = concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix='pool')
        self._started: list[Worker] = []
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)  # not started yet
        self._is_closed = False

    def __enter__(self) -> 'Pool':
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._started:
            worker.process.kill()  # it blocks other signals
        self._threads.shutdown()
        for worker in self._started:
            worker.process.join()
            worker.connection.close()

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results of a function, in the order of the items. Thread-safe."""
        return list(self._threads.map(lambda item: self._compute(function, item), items))

    def as_done(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """The results of a function, as they come."""
        futures = [self._threads.submit(self._compute, function, item) for item in items]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()

    def _compute(self, function: Callable[[Item], Result], item: Item) -> Result:
        worker = self._idle.get()
        try:
            worker = worker or self._start()
            error, result = _asked(worker, function, item)
        finally:  # also if it has ended: no thread waits for it
            self._idle.put(worker)
        if error is not None:
            raise error
        return result

    def _start(self) -> Worker:
        try:
            worker = _started()
        except OSError as error:
            raise RunError(f'no process can be started ({explained(error)})') from error
        self._started.append(worker)
        if self._is_closed:
            worker.process.kill()
        return worker


def _started() -> Worker:
    """A new process, in which the signals to the job are blocked."""
    context = multiprocessing.get_context('spawn')  # JAX does not survive a fork
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OWN_SIGNALS)  # which processes inherit
    try:
        resource_tracker.ensure_running()  # the first process would start it; it unblocks some
        signal.pthread_sigmask(signal.SIG_BLOCK, OWN_SIGNALS)
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return Worker(process, ours)


def _asked(worker: Worker, function: Callable[[Any], Any], item: Any) -> tuple[Any, Any]:
    """(error, result) of a function in another process."""
    try:
        worker.connection.send((function, item))
        return worker.connection.recv()
    except (EOFError, OSError) as error:
        raise RunError(
            'a process that computes for this one has ended; unless its error is printed above, '
            'the memory was full: free some, or use fewer --workers where there are any, and run '
            'the same command again'
        ) from error


def _work(requests: Connection) -> None:
    """Answers (function, item) with (error, result) until the other end is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            function, item = requests.recv()
            try:
                requests.send((None, function(item)))
            except Exception as error:
                error.add_note(traceback.format_exc())
                requests.send((_sendable(error), None))


def _sendable(error: Exception) -> Exception:
    """The error, or its text where it cannot be put together again."""
    try:
        return ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return RuntimeError(f'{type(error).__name__}: {error}\n{error.__notes__[-1]}')


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
