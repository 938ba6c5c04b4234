"""The least time that a step could take: its operations and bytes at the rates of this machine.

It is the longer of two times: of the operations at the rate of a large matrix product, and of the
least bytes at the rate at which a large array is read and written (Williams, Waterman and
Patterson, "Roofline", 2009).
"""

import concurrent.futures
import math
import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bodycomp_jax.data.batches import READ_THREADS
from bodycomp_jax.models.layers.convolution import PRECISION

BURN_IN = 3  # steps
MATRIX = {'cpu': 2048, 'gpu': 8192, 'tpu': 8192}  # side of the matrices whose product is timed
COPIED = {'cpu': 1 << 28, 'gpu': 1 << 31, 'tpu': 1 << 30}  # bytes that are copied on a device
COPIED_BY_HOST = 1 << 28
WEIGHT_BYTES = 4
TRAINED_WEIGHT_BYTES = 6 * 4  # a weight and its two moments, read and written


class Work(NamedTuple):
    """The least that a step does in one place."""

    operations: float
    bytes: float  # read and written


class Rates(NamedTuple):
    """What one place, a device or the host, does in a second."""

    operations: float
    bytes: float

    def floor(self, work):
        """The least seconds that it takes."""
        return max(work.operations / self.operations, work.bytes / self.bytes)


def training_work(costs, slices, dtype, weights, slice_bytes):
    """Of one training step on one device.

    Every convolution's result is written once and read once by each of its readers; on the way
    back it is read once more, its gradient written and read once; and slices, labels, weights and
    moments once. There are twice as many operations on the way back as forward, but for the
    gradient of the slices, which nobody needs.

    Args:
      costs: a `ConvolutionCost` for each convolution of the network.
      slices: number of slices on the device.
      dtype: in which is computed.
      weights: number of them.
      slice_bytes: of the slices and their labels.
    """
    products = [cost.values * cost.taps for cost in costs]
    values = sum(cost.values * (1 + cost.readers + 1 + 2) for cost in costs)
    return Work(
        operations=2 * slices * (3 * sum(products) - products[0]),
        bytes=slices * values * dtype.itemsize + slice_bytes + weights * TRAINED_WEIGHT_BYTES,
    )


def prediction_work(costs, slices, dtype, weights, slice_bytes):
    """Of one prediction; arguments as of `training_work`, but the bytes are with the results."""
    values = sum(cost.values * (1 + cost.readers) for cost in costs)
    return Work(
        operations=2 * slices * sum(cost.values * cost.taps for cost in costs),
        bytes=slices * values * dtype.itemsize + slice_bytes + weights * WEIGHT_BYTES,
    )


def reading_work(slice_bytes):
    """Of reading slices and labels from the host's memory into a batch."""
    return Work(operations=0, bytes=2 * slice_bytes)


def device_rates(dtype, windows, steps):
    """Of one device: a product of matrices, and a pass that reads an array and writes it back."""
    backend = jax.default_backend()
    side, size = (sizes.get(backend, sizes['gpu']) for sizes in (MATRIX, COPIED))
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


def host_rates(windows, steps):
    """Of as many threads as read files; they copy, and compute nothing."""
    source, target = (
        np.ones((READ_THREADS, COPIED_BY_HOST // READ_THREADS // 8)) for _ in range(2)
    )
    with concurrent.futures.ThreadPoolExecutor(READ_THREADS) as threads:

        def copy():
            return list(threads.map(np.copyto, target, source))

        median = _median_seconds(copy, windows, steps)
    return Rates(operations=math.inf, bytes=2 * source.nbytes / median)


def _median_seconds(run, windows, steps):
    return statistics.median(seconds(run, windows, steps))


def seconds(run, windows, steps):
    """Of one run, in each window; the devices are waited for at the end of a window."""
    for _ in range(BURN_IN):
        jax.block_until_ready(run())
    measured = []
    for _ in range(windows):
        began = time.perf_counter()
        for _ in range(steps):
            result = run()
        jax.block_until_ready(result)
        measured.append((time.perf_counter() - began) / steps)
    return measured
