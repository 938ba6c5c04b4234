"""Batches on the devices: streamed from disk, or taken from a copy of the set on each device.

Both give the same batches, so that the result of a training does not depend on the choice.
"""

from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from bodycomp_jax.data.batches import ReadAhead
from bodycomp_jax.data.dataset import Dataset
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.devices import free_memory
from bodycomp_jax.training import data_parallel

MAX_FRACTION = 0.5  # of the free memory of a device, for cached sets
PART_BYTES = 1 << 26  # uploaded at a time; the host holds at most five parts

Batches = Callable[[np.ndarray], dict[str, jax.Array]]  # rows `[B]` -> the batch on the devices


def streamed_batches(dataset: Dataset, batch_size: int, devices: Sequence[jax.Device]) -> Batches:
    """Batches that are read from disk each time."""
    own = data_parallel.local_rows(batch_size, devices)
    return lambda rows: data_parallel.shard_batch(dataset.read(rows[own]), devices)


def cached_batches(dataset: Dataset, batch_size: int, devices: Sequence[jax.Device]) -> Batches:
    """Batches from a copy of the whole set on each device, which is uploaded now."""
    own = data_parallel.local_rows(batch_size, devices)
    cached = data_parallel.upload(_parts(dataset), len(dataset), devices)

    def shard(rows):
        return data_parallel.shard_batch(rows[own].astype(np.int32), devices)

    take = data_parallel.pmap_take(cached, shard(np.zeros(batch_size, int)), devices)
    return lambda rows: take(cached, shard(rows))


def plan_device_cache(
    data_cache: str,
    datasets: Sequence[Dataset],
    devices: Sequence[jax.Device],
    *,
    draws: bool = False,
) -> tuple[bool, str]:
    """Decides whether the sets are cached on the devices.

    Args:
      data_cache: 'device', 'host' or 'auto' (on an accelerator with enough memory).
      datasets: to be cached together.
      devices: to cache them on.
      draws: whether one of them draws its examples while training.

    Returns:
      (the decision, a line about it and the memory).

    Raises InputError if they must be cached and do not fit, or are drawn.
    """
    if draws and data_cache == 'device':
        raise InputError(
            'invalid --data_cache=device: synthetic slices are drawn while training, so that '
            'nothing can be cached; leave it out'
        )
    needed = sum(_bytes(dataset) for dataset in datasets)
    free = free_memory(devices)
    fits = needed <= MAX_FRACTION * free
    if data_cache == 'device' and not fits:
        raise InputError(
            f'invalid --data_cache=device: the sets need {needed / 1e6:,.0f} MB on each device, '
            f'more than half of the {free / 1e6:,.0f} MB that are free; use --data_cache=host'
        )
    cached = data_cache == 'device' or (
        data_cache == 'auto' and fits and not draws and devices[0].platform != 'cpu'
    )
    where = 'cached on each device' if cached else 'streamed from disk'
    where = 'streamed, synthetic slices as they are drawn' if draws else where
    return cached, f'data   {needed / 1e6:,.0f} MB, {where}; {free / 1e6:,.0f} MB free per device'


def _parts(dataset: Dataset) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """(first row, rows) of parts of one size; the last two may overlap."""
    n = len(dataset)
    size = min(n, max(1, PART_BYTES * n // _bytes(dataset)))
    starts = [min(start, n - size) for start in range(0, n, size)]
    rows = [np.arange(start, start + size) for start in starts]
    return zip(starts, ReadAhead(dataset.read, rows), strict=True)


def _bytes(dataset: Dataset) -> int:
    one = dataset.read(np.zeros(1, int))
    return len(dataset) * sum(array.nbytes for array in one.values())
