"""Data parallelism: the only code of the training that deals with more than one device.

The state has no device axis: it goes in and comes out whole, the same on every device. A batch
is sharded along its first axis over the devices of all processes.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bodycomp_jax.runtime.devices import num_local

AXIS = 'devices'

Devices = Sequence[jax.Device]


def pmap_step(step: Callable, devices: Devices, *, donate_state: bool = False) -> Any:
    """Maps step(state, sharded) over all devices, of this process and the others.

    `step` sees the rows of `sharded` of its device; its result must be the same on every device,
    as that of `sum_over_devices` and `gather_examples` is.
    """
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,
        donate_argnums=(0,) if donate_state else (),
        devices=devices,
    )


def pmap_take(cached: dict[str, jax.Array], rows: jax.Array, devices: Devices) -> Any:
    """Compiles program(cached, rows) -> batch, which picks rows of arrays on each device.

    Args:
      cached: {name: `[N, ...]`}, replicated.
      rows: `[D, B / D]` int32, sharded.
      devices: that hold both.
    """

    def take(cached, rows):
        return {name: array[rows] for name, array in cached.items()}

    program = jax.pmap(take, axis_name=AXIS, in_axes=(None, 0), out_axes=0, devices=devices)
    return program.lower(cached, rows).compile()


def sum_over_devices(tree: Any) -> Any:
    """Inside a step: the sum over all devices."""
    return jax.lax.psum(tree, AXIS)


def gather_examples(tree: Any) -> Any:
    """Inside a step: `[B / D, ...]` of each device as `[B, ...]` of the whole batch."""
    return jax.lax.all_gather(tree, AXIS, tiled=True)


def example_indices(rows: int) -> jax.Array:
    """Inside a step: the indices in the whole batch of the `rows` examples of this device."""
    return jax.lax.axis_index(AXIS) * rows + jnp.arange(rows)


def replicate(tree: Any, devices: Devices) -> Any:
    """A copy of each array on every device, seen as one array of the same shape."""
    sharding = _sharding(devices, PartitionSpec())
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
    )


def upload(
    parts: Iterable[tuple[int, dict[str, np.ndarray]]], length: int, devices: Devices
) -> dict[str, jax.Array]:
    """Arrays of `length` rows on every device, uploaded part by part.

    Args:
      parts: (first row, {name: `[n, ...]`}), all with the same n; they may overlap.
      length: N.
      devices: to upload to.

    Returns:
      {name: `[N, ...]`}, replicated.
    """
    replicated = _sharding(devices, PartitionSpec())

    @functools.partial(jax.jit, out_shardings=replicated, donate_argnums=0)
    def write(whole, part, start):
        def written(array, rows):
            return jax.lax.dynamic_update_slice_in_dim(array, rows, start, axis=0)

        return jax.tree.map(written, whole, part)

    whole: dict[str, jax.Array] = {}
    for start, part in parts:
        whole = whole or {
            name: jnp.empty((length, *rows.shape[1:]), rows.dtype, device=replicated)
            for name, rows in part.items()
        }
        # Without waiting, parts that are not uploaded yet pile up in the memory of the host.
        whole = jax.block_until_ready(write(whole, replicate(part, devices), start))
    return whole


def local_rows(batch_size: int, devices: Devices) -> np.ndarray:
    """The rows of a batch that this process reads, in the order of its devices."""
    rows = np.arange(batch_size).reshape(len(devices), -1)
    return rows[[d.process_index == jax.process_index() for d in devices]].ravel()


def shard_batch(rows: Any, devices: Devices) -> Any:
    """Host arrays `[b, ...]`, this process's rows of a batch, as `[D, B / D, ...]` on devices.

    Device d of all D devices gets part d of the whole batch.
    """
    local = num_local(devices)
    return jax.tree.map(lambda a: _put(a.reshape(local, -1, *a.shape[1:]), devices), rows)


def on_each_device(array: np.ndarray, devices: Devices) -> jax.Array:
    """An array of this process, `[...]`, as `[D, ...]`: a copy on each of its own devices."""
    return _put(np.stack([array] * num_local(devices)), devices)


def on_one_device(tree: Any) -> Any:
    """This process's copy of replicated arrays, on the first of its devices."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def _put(parts: np.ndarray, devices: Devices) -> jax.Array:
    """This process's `[d, ...]` as part of a `[D, ...]`, an entry on each device."""
    shape = (len(devices), *parts.shape[1:])
    sharding = _sharding(devices, PartitionSpec(AXIS))
    return jax.make_array_from_process_local_data(sharding, parts, shape)


def _sharding(devices: Devices, spec: PartitionSpec) -> NamedSharding:
    return NamedSharding(Mesh(np.asarray(devices), (AXIS,)), spec)
