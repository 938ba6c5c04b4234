"""Batches on the devices: streamed from files, or taken from a copy of the set that is kept there.

Either way the same rows make the same batch, so that the result does not depend on it.
"""

import numpy as np

from bodycomp_jax.data.batches import ReadAhead
from bodycomp_jax.errors import InputError
from bodycomp_jax.training import data_parallel

SHARE = 0.5  # of the free memory of a device that kept sets may take
PART = 1 << 26  # bytes of a set that go to the devices at a time; the host has five parts at most


def reader(dataset, batch_size, devices):
    """A function (rows `[B]`, weights `[B]` if any) -> batch, that reads from files each time."""
    own = data_parallel.local_rows(batch_size, devices)

    def read(*of_batch):
        return data_parallel.split(dataset.read(*(array[own] for array in of_batch)), devices)

    return read


def keeper(dataset, batch_size, devices):
    """The same, but the whole set is read once, now, and kept on every device."""
    own = data_parallel.local_rows(batch_size, devices)
    kept = data_parallel.joined(_parts(dataset), len(dataset), devices)

    def choose(rows, weights):
        return data_parallel.split(
            {'rows': rows[own].astype(np.int32), 'weight': weights[own]}, devices
        )

    ones = np.ones(batch_size, np.float32)
    take = data_parallel.taker(kept, choose(np.zeros(batch_size, int), ones), devices)
    return lambda rows, weights=ones: take(kept, choose(rows, weights))


def is_kept(data_cache, datasets, devices):
    """(whether the sets are kept on the devices, a line that says so and what it takes).

    Args:
      data_cache: 'device', 'host' or 'auto': on an accelerator with room for them.
      datasets: to be kept together.
      devices: to keep them on.

    Raises InputError if they must be kept and there is no room.
    """
    takes = sum(_bytes(dataset) for dataset in datasets)
    free = data_parallel.free_memory(devices)
    fits = takes <= SHARE * free
    if data_cache == 'device' and not fits:
        raise InputError(
            f'--data_cache: the sets take {takes / 1e6:,.0f} MB on each device, more than half of '
            f'the {free / 1e6:,.0f} MB that are free there; use --data_cache host'
        )
    kept = data_cache == 'device' or (
        data_cache == 'auto' and fits and devices[0].platform != 'cpu'
    )
    where = 'kept on each device' if kept else 'streamed from files'
    return kept, f'data   {takes / 1e6:,.0f} MB, {where}; {free / 1e6:,.0f} MB are free on each'


def _parts(dataset):
    """(first row, rows) of each part; all are of one size, so the last two may overlap."""
    n = len(dataset)
    size = min(n, max(1, PART * n // _bytes(dataset)))
    starts = [min(start, n - size) for start in range(0, n, size)]
    keys = [(np.arange(start, start + size),) for start in starts]
    return zip(starts, ReadAhead(lambda rows: _without_weights(dataset, rows), keys), strict=True)


def _bytes(dataset):
    one = _without_weights(dataset, np.zeros(1, int))
    return len(dataset) * sum(array.nbytes for array in one.values())


def _without_weights(dataset, rows):
    """What a set says of its rows, whichever batch they are in."""
    read = dataset.read(rows)
    del read['weight']
    return read
