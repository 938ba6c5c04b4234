"""Devices to compile for that need not be there."""

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax.experimental import topologies

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.devices import refuse_uneven_batch


class Target(NamedTuple):
    """A device and the others that are connected to it."""

    extra: str  # of this package, with the compiler
    topology: str  # a name of XLA
    accelerator: str = ''  # Google's name of these TPUs
    hertz: float | None = None  # of a TPU: its peak, divided by the size of its matrix units


TARGETS = {
    'v5e': Target('tpu', 'v5e:2x4', 'v5litepod-8', 1.5e9),
    'v6e': Target('tpu', 'v6e:2x4', 'v6e-8', 1.75e9),
    'h100': Target('gpu', '1x1x8'),
}


def absent_devices(name: str, num_devices: int | None, batch_size: int) -> Sequence[jax.Device]:
    """Devices of one of the `TARGETS`.

    From now on JAX starts no others but the CPU, and does not cache what it compiles: programs for
    absent devices cannot be loaded again.

    Args:
      name: of the target.
      num_devices: how many; None for one.
      batch_size: must divide over them.

    Raises InputError if the compiler is not installed, if there are too few devices or if the
    batch does not divide.
    """
    target, count = TARGETS[name], 1 if num_devices is None else num_devices
    jax.config.update('jax_platforms', 'cpu')
    jax.config.update('jax_enable_compilation_cache', False)
    try:
        available = _topology(name, target).devices
    except RuntimeError as error:
        raise InputError(
            f'invalid --ahead_of_time={name}: JAX has no compiler for it ({error}); install it, '
            f"in the folder of this project, by .venv/bin/pip install -e '.[{target.extra}]'"
        ) from error
    if not 1 <= count <= len(available):
        raise InputError(
            f'invalid --num_gpus={count}: {name} stands for {len(available)} devices that are '
            f'connected; use 1 to {len(available)}'
        )
    refuse_uneven_batch(batch_size, count)
    return available[:count]


def _topology(name: str, target: Target) -> topologies.TopologyDescription:
    if target.extra == 'tpu':
        os.environ |= {
            'TPU_SKIP_MDS_QUERY': '1',  # not of the machine that this runs on
            'TPU_WORKER_HOSTNAMES': 'localhost',
            'TPU_ACCELERATOR_TYPE': target.accelerator,
            'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',  # nothing runs, others may
        }
        return topologies.get_topology_desc(target.topology, 'tpu')
    config = pathlib.Path(__file__).with_name(f'{name}.txtpb').read_text('utf-8')
    return topologies.get_topology_desc(
        target.topology, 'cuda', topology=target.topology, target_config=config
    )
