"""Everything that knows of more than one device.

The state has no device axis: it goes in and comes out whole, the same on every device. A batch
is split along its first axis. With the loss made from sums over all devices, the mean of the
devices' gradients is the gradient of the whole batch's loss.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = 'devices'


def parallel(step, devices, *, donate_state=False):
    """Compiles step(state, batch) for all devices.

    `step` sees its device's rows of the batch; what it returns must be the same on every device,
    which `sum_over_devices` and `mean_over_devices` make it.
    """
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,
        donate_argnums=(0,) if donate_state else (),
        devices=devices,
    )


def compute_dtype(precision, devices):
    """The type that 'auto', 'float32' or 'bfloat16' means on these devices.

    bfloat16 gains nothing on CPU, where no instruction computes with it.
    """
    if precision == 'auto':
        precision = 'float32' if devices[0].platform == 'cpu' else 'bfloat16'
    return jnp.dtype(precision)


def replicate(tree, devices):
    """A copy of each array on every device, seen as one array of the same shape."""
    return jax.device_put(tree, _sharding(devices, PartitionSpec()))


def split(batch, devices):
    """Host arrays `[B, ...]` as `[D, B / D, ...]`, the d-th part on the d-th device."""
    D = len(devices)
    parts = {name: a.reshape(D, a.shape[0] // D, *a.shape[1:]) for name, a in batch.items()}
    return jax.device_put(parts, _sharding(devices, PartitionSpec(AXIS)))


def split_shapes(batch, batch_size, devices):
    """What `split` would make of a batch of another size: shapes, types and placement alone."""
    D = len(devices)
    sharding = _sharding(devices, PartitionSpec(AXIS))
    return {
        name: jax.ShapeDtypeStruct((D, batch_size // D, *a.shape[1:]), a.dtype, sharding=sharding)
        for name, a in batch.items()
    }


def on_one_device(shapes):
    """The same shapes, to be placed on the first device."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda leaf: leaf.update(sharding=sharding), shapes)


def memory(compiled, devices):
    """(bytes that a compiled program needs on a device, bytes that the device has)."""
    stats = compiled.memory_analysis()
    needed = (
        stats.argument_size_in_bytes
        + stats.output_size_in_bytes
        + stats.temp_size_in_bytes
        - stats.alias_size_in_bytes
    )
    limits = devices[0].memory_stats()
    if limits is None:  # a CPU: its virtual devices share the host's memory
        host = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
        return needed, host // len(devices)
    return needed, limits['bytes_limit']


def sum_over_devices(tree):
    return jax.lax.psum(tree, AXIS)


def mean_over_devices(tree):
    return jax.lax.pmean(tree, AXIS)


def example_indices(rows):
    """Where this device's `rows` examples are in the whole batch."""
    return jax.lax.axis_index(AXIS) * rows + jnp.arange(rows)


def _sharding(devices, spec):
    return NamedSharding(Mesh(np.asarray(devices), (AXIS,)), spec)
