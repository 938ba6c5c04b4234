"""Which examples make which batch, and threads that read batches ahead of their use."""

import collections
import concurrent.futures
import itertools
import time

import numpy as np

READ_THREADS = 2
BATCHES_AHEAD = 4


def training_batches(n, batch_size, steps, seed, epoch):
    """The indices of each batch of an epoch: shuffles that depend on (seed, epoch) alone.

    Examples that are left out, because the last batch would be short or the steps are fewer, are
    others in another epoch. If the steps are more, the set is shuffled again as often as needed.

    Returns:
      int array `[steps, batch_size]`.
    """
    rng = np.random.default_rng((seed, epoch))
    shuffles = -(-steps * batch_size // n)
    order = np.concatenate([rng.permutation(n) for _ in range(shuffles)])
    return order[: steps * batch_size].reshape(steps, batch_size)


def evaluation_batches(n, batch_size):
    """Every index once, in order; the last batch is filled up with index 0 at weight 0.

    Returns:
      list of (indices `[batch_size]`, weights `[batch_size]` float32, 1 or 0).
    """
    indices = np.zeros(-(-n // batch_size) * batch_size, int)
    indices[:n] = np.arange(n)
    weights = (np.arange(len(indices)) < n).astype(np.float32)
    return list(zip(indices.reshape(-1, batch_size), weights.reshape(-1, batch_size), strict=True))


class ReadAhead:
    """Iterates over `read(*key) for key in keys`, in order, read by threads ahead of time.

    An error in a thread is raised as soon as the consumer asks for any batch. `waited` is the
    time in seconds that the consumer spent waiting for a batch.
    """

    def __init__(self, read, keys):
        self.waited = 0.0
        self._read, self._keys = read, keys

    def __iter__(self):
        threads = concurrent.futures.ThreadPoolExecutor(READ_THREADS, thread_name_prefix='read')
        keys = iter(self._keys)
        try:
            queue = collections.deque(
                threads.submit(self._read, *key) for key in itertools.islice(keys, BATCHES_AHEAD)
            )
            while queue:
                began = time.perf_counter()
                batch = _first_result(queue)
                self.waited += time.perf_counter() - began
                for key in itertools.islice(keys, 1):
                    queue.append(threads.submit(self._read, *key))
                yield batch
        finally:
            threads.shutdown(cancel_futures=True)


def _first_result(queue):
    """Takes the result of the first future; raises the error of any as soon as it has one."""
    while True:
        done = [future for future in queue if future.done()]
        for future in done:
            future.result()
        if queue[0] in done:
            return queue.popleft().result()
        running = [future for future in queue if future not in done]
        concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
