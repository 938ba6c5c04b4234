"""The roofline: the least time of a step, from its work and the measured rates of the machine.

It is the longer of two times: of the operations at the rate of a large matrix product, and of the
least memory traffic at the rate of reading and writing a large array (Williams, Waterman and
Patterson, "Roofline", 2009).
"""

import concurrent.futures
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bodycomp_jax.benchmark.costs import ConvolutionCost
from bodycomp_jax.data.batches import READ_THREADS
from bodycomp_jax.models.layers.convolution import PRECISION

WARM_UP_STEPS = 3
MATRIX_SIDE = {'cpu': 2048, 'gpu': 8192, 'tpu': 8192}  # of the timed matrix product
COPY_BYTES = {'cpu': 1 << 28, 'gpu': 1 << 31, 'tpu': 1 << 30}  # copied on a device
HOST_COPY_BYTES = 1 << 28
WEIGHT_BYTES = 4
TRAINED_WEIGHT_BYTES = 6 * 4  # a weight and its two moments, read and written


class Work(NamedTuple):
    """The least work of a step in one place, a device or the host."""

    operations: float
    bytes: float  # read and written


class Rates(NamedTuple):
    """The rates of one place, per second."""

    operations: float
    bytes: float

    def least_seconds(self, work: Work) -> float:
        """The roofline of a step."""
        return max(work.operations / self.operations, work.bytes / self.bytes)


def training_work(
    costs: Sequence[ConvolutionCost],
    slices: float,
    dtype: np.dtype,
    weights: int,
    batch_bytes: float,
) -> Work:
    """The least work of a training step on one device.

    Memory traffic: each convolution output is written once and read once by each of its readers;
    the backward pass reads it once more, and writes and reads its gradient once. Slices, labels,
    weights and moments count once. Operations: twice as many backward as forward, except for the
    gradient of the slices, which is not needed.

    Args:
      costs: of every convolution of the network.
      slices: per device.
      dtype: of the arithmetic.
      weights: number of weights.
      batch_bytes: size of the slices and their labels, per device.
    """
    macs = [cost.values * cost.macs_per_output for cost in costs]
    values = sum(cost.values * (1 + cost.readers + 1 + 2) for cost in costs)
    return Work(
        operations=2 * slices * (3 * sum(macs) - macs[0]),
        bytes=slices * values * dtype.itemsize + batch_bytes + weights * TRAINED_WEIGHT_BYTES,
    )


def prediction_work(
    costs: Sequence[ConvolutionCost],
    slices: float,
    dtype: np.dtype,
    weights: int,
    batch_bytes: float,
) -> Work:
    """The least work of a prediction.

    Arguments as for `training_work`, except that `batch_bytes` is the size of slices and results.
    """
    values = sum(cost.values * (1 + cost.readers) for cost in costs)
    return Work(
        operations=2 * slices * sum(cost.values * cost.macs_per_output for cost in costs),
        bytes=slices * values * dtype.itemsize + batch_bytes + weights * WEIGHT_BYTES,
    )


def reading_work(batch_bytes: float) -> Work:
    """The least work of copying slices and labels from the memory of the host into a batch."""
    return Work(operations=0, bytes=2 * batch_bytes)


def device_rates(dtype: np.dtype, windows: int, steps: int) -> Rates:
    """The measured rates of a matrix product, and of updating an array in place, on one device."""
    backend = jax.default_backend()
    side, size = (sizes.get(backend, sizes['gpu']) for sizes in (MATRIX_SIDE, COPY_BYTES))
    matrix = jax.random.normal(jax.random.key(0), (side, side), dtype)
    product = jax.jit(lambda a: jnp.dot(a, a, precision=PRECISION))
    array = jnp.ones(size // 4, jnp.float32)
    add = jax.jit(lambda a: a + 1, donate_argnums=0)

    def copy():
        nonlocal array
        array = add(array)
        return array

    return Rates(
        operations=2 * side**3 / _median_seconds(lambda: product(matrix), windows, steps),
        bytes=2 * size / _median_seconds(copy, windows, steps),
    )


def host_rates(windows: int, steps: int) -> Rates:
    """The measured rate of copying by as many threads as read files; no operations are counted."""
    source, target = (
        np.ones((READ_THREADS, HOST_COPY_BYTES // READ_THREADS // 8)) for _ in range(2)
    )
    with concurrent.futures.ThreadPoolExecutor(READ_THREADS) as threads:

        def copy():
            return list(threads.map(np.copyto, target, source))

        median = _median_seconds(copy, windows, steps)
    return Rates(operations=math.inf, bytes=2 * source.nbytes / median)


def time_windows(run: Callable[[], Any], windows: int, steps: int) -> list[float]:
    """Seconds of one run, the mean of each window; waits for the devices at the end of a window."""
    for _ in range(WARM_UP_STEPS):
        jax.block_until_ready(run())
    measured = []
    for _ in range(windows):
        began = time.perf_counter()
        for _ in range(steps):
            result = run()
        jax.block_until_ready(result)
        measured.append((time.perf_counter() - began) / steps)
    return measured


def _median_seconds(run, windows, steps):
    return statistics.median(time_windows(run, windows, steps))
