"""Which examples form which batch, and threads that read batches ahead of their use."""

import collections
import concurrent.futures
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import numpy as np

READ_THREADS = 4
BATCHES_AHEAD = 4

Key = TypeVar('Key')
Batch = TypeVar('Batch')


def training_batches(
    n: int, batch_size: int, steps: int, seed: int, epoch: int, *, synthetic: int = 0
) -> np.ndarray:
    """The rows of each batch of an epoch: shuffles that depend on (seed, epoch) alone.

    Examples beyond the last whole batch, or beyond `steps`, are left out, others in each epoch.
    For more steps the set is shuffled as often as needed.

    Args:
      n: examples that are stored; the rows from n on are drawn, see `SyntheticSet`.
      batch_size, steps: of the epoch.
      seed: of the shuffles.
      epoch: from 1.
      synthetic: rows of each batch that are drawn, spread evenly over the batch. Each is another
        one in the whole training.

    Returns:
      int array `[steps, batch_size]`.
    """
    batches = np.empty((steps, batch_size), int)
    is_drawn = np.diff(np.arange(batch_size + 1) * synthetic // batch_size) > 0
    drawn = np.arange(steps * synthetic) + (epoch - 1) * steps * synthetic
    batches[:, is_drawn] = n + drawn.reshape(steps, synthetic)
    stored = batch_size - synthetic
    if stored:
        rng = np.random.default_rng((seed, epoch))
        shuffles = -(-steps * stored // n)
        order = np.concatenate([rng.permutation(n) for _ in range(shuffles)])
        batches[:, ~is_drawn] = order[: steps * stored].reshape(steps, stored)
    return batches


def evaluation_batches(n: int, batch_size: int) -> list[np.ndarray]:
    """The rows `[batch_size]` of each batch: 0 to n - 1 in order, padded with row 0 at the end.

    The first n results, in order, are those of the set; drop the others.
    """
    rows = np.zeros(-(-n // batch_size) * batch_size, int)
    rows[:n] = np.arange(n)
    return list(rows.reshape(-1, batch_size))


class ReadAhead(Generic[Key, Batch]):
    """Iterates over `read(key) for key in keys`, in order; threads read ahead.

    An error in a thread is raised as soon as the consumer requests any batch.

    Attributes:
      waited: seconds that the consumer has waited for batches.
    """

    def __init__(
        self, read: Callable[[Key], Batch], keys: Iterable[Key], *, times: int = 1
    ) -> None:
        """Reads nothing yet.

        Args:
          read: a batch; called in threads.
          keys: of the batches.
          times: multiplies `READ_THREADS` and `BATCHES_AHEAD`.
        """
        self.waited = 0.0
        self._read, self._keys, self._times = read, keys, times

    def __iter__(self) -> Iterator[Batch]:
        threads = concurrent.futures.ThreadPoolExecutor(
            READ_THREADS * self._times, thread_name_prefix='read'
        )
        submitted = (threads.submit(self._read, key) for key in self._keys)
        try:
            queue = collections.deque(itertools.islice(submitted, BATCHES_AHEAD * self._times))
            while queue:
                began = time.perf_counter()
                batch = _first_result(queue)
                self.waited += time.perf_counter() - began
                queue.extend(itertools.islice(submitted, 1))
                yield batch
        finally:
            threads.shutdown(cancel_futures=True)


def _first_result(queue: collections.deque[concurrent.futures.Future[Batch]]) -> Batch:
    """Removes the first future and returns its result; raises the error of any future at once."""
    while True:
        done = [future for future in queue if future.done()]
        for future in done:
            future.result()
        if queue[0] in done:
            return queue.popleft().result()
        running = [future for future in queue if future not in done]
        concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
