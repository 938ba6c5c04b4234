"""What decides the last bits of a result besides the program: pinned, or recorded and compared."""

import importlib.metadata
import os
from collections.abc import Mapping, MutableMapping
from typing import Any

PINNED = (  # variables that change what JAX computes, or whether it computes at all
    'JAX_ALLOW_F16_REDUCTIONS', 'JAX_DEBUG_INFS', 'JAX_DEBUG_KEY_REUSE', 'JAX_DEBUG_NANS',
    'JAX_DEFAULT_DEVICE', 'JAX_DEFAULT_MATMUL_PRECISION', 'JAX_DEFAULT_PRNG_IMPL',
    'JAX_DISABLE_JIT', 'JAX_DISABLE_MOST_OPTIMIZATIONS', 'JAX_ENABLE_CHECKS',
    'JAX_ENABLE_CUSTOM_PRNG', 'JAX_ENABLE_X64', 'JAX_EXEC_TIME_OPTIMIZATION_EFFORT',
    'JAX_EXPLICIT_X64_DTYPES', 'JAX_HIGH_DYNAMIC_RANGE_GUMBEL', 'JAX_LEGACY_PRNG_KEY',
    'JAX_MEMORY_FITTING_EFFORT', 'JAX_MEMORY_FITTING_LEVEL', 'JAX_NO_EXECUTION', 'JAX_NO_TRACING',
    'JAX_NUMPY_DTYPE_PROMOTION', 'JAX_NUMPY_RANK_PROMOTION', 'JAX_OPTIMIZATION_LEVEL',
    'JAX_RANDOM_SEED_OFFSET', 'JAX_SOFTMAX_CUSTOM_JVP', 'JAX_THREEFRY_GPU_KERNEL_LOWERING',
    'JAX_THREEFRY_PARTITIONABLE', 'JAX_TRANSFER_GUARD', 'JAX_TRANSFER_GUARD_DEVICE_TO_DEVICE',
    'JAX_TRANSFER_GUARD_DEVICE_TO_HOST', 'JAX_TRANSFER_GUARD_HOST_TO_DEVICE',
    'JAX_USE_DIRECT_LINEARIZE', 'JAX_USE_SHARDY_PARTITIONER',
)  # fmt: skip
RECORDED = ('XLA_FLAGS', 'LIBTPU_INIT_ARGS', 'NVIDIA_TF32_OVERRIDE', 'TF_CUDNN_DETERMINISTIC')


def drop_variables(environ: MutableMapping[str, str]) -> list[str]:
    """Removes the variables that are pinned; returns those that were set, as NAME=VALUE.

    Call before JAX is imported, which reads them.
    """
    present = [f'{name}={environ[name]}' for name in PINNED if name in environ]
    for name in PINNED:
        environ.pop(name, None)
    return present


def describe(
    devices: int, device_kind: str, compute_dtype: str, environ: Mapping[str, str]
) -> dict[str, Any]:
    """What the bits of a result depend on, as {name: JSON value}.

    Args:
      devices: number of devices of the job.
      device_kind: as JAX names it.
      compute_dtype: name of the type of the arithmetic.
      environ: the environment variables.
    """
    found: dict[str, Any] = {
        'devices': devices,
        'device kind': device_kind,
        'arithmetic': compute_dtype,
        **{package: importlib.metadata.version(package) for package in ('jax', 'jaxlib')},
        **{name: environ.get(name, '') for name in RECORDED},
    }
    if device_kind == 'cpu':  # XLA divides sums over the cores, and compiles for their instructions
        found |= {'CPU cores': num_cores(environ), 'CPU': _cpu()}
    return found


def num_cores(environ: Mapping[str, str]) -> int:
    """The cores that XLA computes on: those of this process, unless NPROC says otherwise."""
    if environ.get('NPROC', '').isdigit():
        return int(environ['NPROC'])
    return own_cores()


def own_cores() -> int:
    """The cores on which this process may run."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What both name with different values, such as 'CPU cores 2, now 4'."""
    return [
        f'{name} {before[name] or "unset"}, now {value or "unset"}'
        for name, value in now.items()
        if before.get(name, value) != value
    ]


def _cpu() -> str:
    """The model of the CPU; '' where Linux does not tell it."""
    try:
        with open('/proc/cpuinfo') as file:
            models = [line.partition(':')[2].strip() for line in file if 'model name' in line]
    except OSError:
        return ''
    return models[0] if models else ''
