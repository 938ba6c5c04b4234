"""Everything that knows of more than one device.

The state has no device axis: it goes in and comes out whole, the same on every device. A batch
is split along its first axis, over the devices of all processes.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = 'devices'


def parallel(step, devices, *, donate_state=False):
    """Compiles step(state, batch) for all devices, of this process and the others.

    `step` sees its device's rows of the batch; what it returns must be the same on every device,
    which `sum_over_devices` makes it.

    Returns:
      program(state, batch, votes) -> (what `step` returns, the sum of the votes); with votes from
      `on_each_device`. Processes that count the same votes decide the same.
    """

    def with_votes(state, batch, votes):
        return step(state, batch), sum_over_devices(votes)

    return jax.pmap(
        with_votes,
        axis_name=AXIS,
        in_axes=(None, 0, 0),
        out_axes=None,
        donate_argnums=(0,) if donate_state else (),
        devices=devices,
    )


def taker(kept, chosen, devices):
    """Compiles program(kept, chosen) -> batch, with the rows of `kept` that `chosen` says.

    Args:
      kept: {name: `[N, ...]`}, replicated.
      chosen: {'rows': `[D, B / D]` int32, 'weight': `[D, B / D]`}, split.
      devices: which hold both.
    """

    def take(kept, chosen):
        taken = {name: array[chosen['rows']] for name, array in kept.items()}
        return {**taken, 'weight': chosen['weight']}

    program = jax.pmap(take, axis_name=AXIS, in_axes=(None, 0), out_axes=0, devices=devices)
    return program.lower(kept, chosen).compile()


def compute_dtype(precision, devices):
    """The type that 'auto', 'float32' or 'bfloat16' means on these devices.

    bfloat16 gains nothing on CPU, where no instruction computes with it.
    """
    if precision == 'auto':
        precision = 'float32' if devices[0].platform == 'cpu' else 'bfloat16'
    return jnp.dtype(precision)


def replicate(tree, devices):
    """A copy of each array on every device, seen as one array of the same shape."""
    sharding = _sharding(devices, PartitionSpec())
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
    )


def joined(parts, length, devices):
    """Arrays of `length` rows on every device, of which the host has only parts.

    Args:
      parts: iterable of (first row, {name: `[n, ...]`}), with one n for all; they may overlap.
      length: N.
      devices: which get them.

    Returns:
      {name: `[N, ...]`}, replicated.
    """
    everywhere = _sharding(devices, PartitionSpec())

    @functools.partial(jax.jit, out_shardings=everywhere, donate_argnums=0)
    def write(whole, part, start):
        def written(array, rows):
            return jax.lax.dynamic_update_slice_in_dim(array, rows, start, axis=0)

        return jax.tree.map(written, whole, part)

    whole = None
    for start, part in parts:
        if whole is None:
            whole = {
                name: jnp.empty((length, *rows.shape[1:]), rows.dtype, device=everywhere)
                for name, rows in part.items()
            }
        # Waited for, else the parts that are not there yet pile up in the host's memory.
        whole = jax.block_until_ready(write(whole, replicate(part, devices), start))
    return whole


def local_rows(batch_size, devices):
    """Which rows of a batch this process reads: those of its own devices, in their order."""
    rows = np.arange(batch_size).reshape(len(devices), -1)
    return rows[[d.process_index == jax.process_index() for d in devices]].ravel()


def split(rows, devices):
    """Host arrays `[b, ...]`, this process's rows of a batch, as `[D, B / D, ...]` on devices.

    The d-th of all D devices has the d-th part of the whole batch.
    """
    local = _num_local(devices)
    parts = {name: a.reshape(local, -1, *a.shape[1:]) for name, a in rows.items()}
    return {name: _put(part, devices) for name, part in parts.items()}


def on_each_device(array, devices):
    """An array of this process, `[...]`, as `[D, ...]`: a copy on each of its own devices."""
    return _put(np.stack([array] * _num_local(devices)), devices)


def on_one_device(tree):
    """This process's own copy of replicated arrays, on the first of its devices."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def memory(compiled, devices):
    """(bytes that a compiled program needs on a device, bytes that are there for it).

    Its arguments are thought to be there already, and are not counted twice.
    """
    needs = compiled.memory_analysis()
    needed = (
        needs.argument_size_in_bytes
        + needs.output_size_in_bytes
        + needs.temp_size_in_bytes
        - needs.alias_size_in_bytes
    )
    stats = _memory_stats()
    if stats is None:  # a CPU: its virtual devices share the host's memory
        host = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
        return needed, host // _num_local(devices)
    others = max(0, stats['bytes_in_use'] - needs.argument_size_in_bytes)
    return needed, stats['bytes_limit'] - others


def free_memory(devices):
    """Bytes that are free on each device."""
    stats = _memory_stats()
    if stats is None:
        free = os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
        return free // _num_local(devices)
    return stats['bytes_limit'] - stats['bytes_in_use']


def peak_memory():
    """The most bytes that were in use on a device so far; None on a CPU, which does not say."""
    stats = _memory_stats()
    return None if stats is None else stats['peak_bytes_in_use']


def sum_over_devices(tree):
    return jax.lax.psum(tree, AXIS)


def example_indices(rows):
    """Where this device's `rows` examples are in the whole batch."""
    return jax.lax.axis_index(AXIS) * rows + jnp.arange(rows)


def _put(parts, devices):
    """This process's `[d, ...]` as part of a `[D, ...]`, an entry on each device."""
    shape = (len(devices), *parts.shape[1:])
    sharding = _sharding(devices, PartitionSpec(AXIS))
    return jax.make_array_from_process_local_data(sharding, parts, shape)


def _memory_stats():
    """What the allocator of an accelerator says; None on a CPU."""
    return jax.local_devices()[0].memory_stats()


def _num_local(devices):
    return len(local_rows(len(devices), devices))


def _sharding(devices, spec):
    return NamedSharding(Mesh(np.asarray(devices), (AXIS,)), spec)
