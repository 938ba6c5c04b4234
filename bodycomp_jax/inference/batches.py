"""Batches of slices through a network, on one device or spread over several."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bodycomp_jax.runtime.devices import without_strict_modes

MAX_BATCH = 16  # slices per call of a network and device; bounds the memory
AXIS = 'devices'


def replicated(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """A copy of arrays on each device; on the default device if none is named."""
    return jax.device_put(tree, _sharding(devices, PartitionSpec()))


def platform(tree: Any) -> str:
    """Of the devices that arrays are on: 'cpu', 'gpu' or 'tpu'."""
    return next(iter(jax.tree.leaves(tree)[0].devices())).platform


def in_batches(
    function: Callable, slices: np.ndarray, results: Any, devices: Sequence[jax.Device]
) -> None:
    """Fills `results`, a pytree of arrays, by `function` of batches of slices.

    Batches are padded to a power of two for each device, which bounds the number of compilations.
    The results of a batch are fetched while the next one is computed.

    Args:
      function: of `[B, H, W]` on these devices.
      slices: `[N, H, W]` on the host.
      results: of N entries each, on the host.
      devices: as of `replicated`.
    """
    count, sharding = max(1, len(devices)), _sharding(devices, PartitionSpec(AXIS))

    def computed():
        for start in range(0, len(slices), count * MAX_BATCH):
            batch = slices[start : start + count * MAX_BATCH]
            each = 2 ** math.ceil(math.log2(-(-len(batch) // count)))
            padding = count * each - len(batch)
            rows = slice(start, start + len(batch))
            padded = np.pad(batch, ((0, padding), (0, 0), (0, 0)))
            yield rows, function(jax.device_put(padded, sharding))

    with without_strict_modes():
        for (rows, batch), _ in itertools.pairwise(itertools.chain(computed(), [None])):
            for result, values in zip(*map(jax.tree.leaves, (results, batch)), strict=True):
                result[rows] = np.asarray(values)[: rows.stop - rows.start]


def _sharding(devices: Sequence[jax.Device], spec: PartitionSpec) -> NamedSharding | None:
    return NamedSharding(Mesh(np.asarray(devices), (AXIS,)), spec) if devices else None
