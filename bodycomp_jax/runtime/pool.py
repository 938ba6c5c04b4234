"""Processes that stay, to which the threads of this one hand work."""

import concurrent.futures
import multiprocessing
import queue
import signal
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from typing import TypeVar

from bodycomp_jax.errors import RunError

OWN_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

Item = TypeVar('Item')
Result = TypeVar('Result')


class Pool:
    """A context with processes, each of which starts with the first work that needs it.

    They end with the context, and with this process, however it ends. Signals to the whole job do
    not end them: this process decides what follows.
    """

    def __init__(self, count: int) -> None:
        self._threads = concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix='pool')
        self._idle: queue.LifoQueue[Connection | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)  # not started yet

    def __enter__(self) -> 'Pool':
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            worker = self._idle.get()
            if worker is not None:
                worker.close()

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results of a function of a module, in the order of the items. Thread-safe.

        Raises RunError if a process ends.
        """
        return list(self._threads.map(lambda item: self._compute(function, item), items))

    def _compute(self, function: Callable[[Item], Result], item: Item) -> Result:
        worker = self._idle.get()
        try:
            worker = worker or _start()
            worker.send((function, item))
            return worker.recv()
        except (EOFError, OSError) as error:
            raise RunError(
                'a process that computes for this one has ended; unless its error is printed '
                'above, the memory was full: free some, and run the same command again'
            ) from error
        finally:  # also if it has ended: no thread waits for it
            self._idle.put(worker)


def _start() -> Connection:
    context = multiprocessing.get_context('spawn')  # JAX does not survive a fork
    ours, theirs = context.Pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OWN_SIGNALS)  # which the process inherits
    try:
        context.Process(target=_work, args=(theirs,)).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return ours


def _work(requests: Connection) -> None:
    """Answers (function, item) until the other end is closed."""
    while True:
        try:
            function, item = requests.recv()
        except EOFError:
            return
        requests.send(function(item))
