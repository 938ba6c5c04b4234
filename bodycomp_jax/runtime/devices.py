"""The devices to compute on: which, in which precision, and how much memory they have."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime import host_memory

# On CPU, XLA of jax 0.10 leaves convolutions to YNNPACK, which computes most of them on one core.
# Without it XLA's own take all cores: one of 32 to 32 channels, 256 x 256, two images on two cores
# of an EPYC, 13 instead of 24 ms. Products and sums stay with YNNPACK.
COMPILER_OPTIONS: dict[str, dict[str, bool | str]] = {  # by platform
    'cpu': {
        'xla_cpu_experimental_ynn_fusion_type': (
            'LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE'
        )
    }
}
PLATFORMS = ('JAX_PLATFORMS', 'JAX_PLATFORM_NAME')  # variables that choose the devices


def refuse_no_device() -> None:
    """Raises InputError if JAX cannot start its devices."""
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # the latter for JAX_PLATFORMS=cuda on CPU
        asked = [f'{name}={os.environ[name]}' for name in PLATFORMS if os.environ.get(name)]
        wanted = f' for {" and ".join(asked)}' if asked else ''
        unset = f', and unset {PLATFORMS[1]}' if os.environ.get(PLATFORMS[1]) else ''
        raise InputError(
            f'JAX found no device to compute on{wanted} ({str(error) or "it is not installed"}); '
            f'check the driver and the installation of JAX, or set {PLATFORMS[0]}=cpu{unset}'
        ) from error


def compute_in_this_thread() -> None:
    """Makes a step on CPU run in the thread that starts it; call before JAX starts its devices.

    In the main thread, the memory that a step fills stays with the process; that of other threads
    glibc returns to the system where blocks are large, in spite of `allocator`. A step of the
    DenseNet takes 7 % less time so, one of the U-Net 3 %.
    """
    jax.config.update('jax_cpu_enable_async_dispatch', False)


@contextlib.contextmanager
def without_strict_modes() -> Iterator[None]:
    """A block to which strict modes of JAX, which the rest of a process may want, do not apply."""
    with jax.numpy_dtype_promotion('standard'), jax.transfer_guard('allow'):
        yield


def choose_devices(num_gpus: int | None, batch_size: int) -> list[jax.Device]:
    """The devices of all processes to train on, grouped by process.

    Args:
      num_gpus: number of devices per process; None for all.
      batch_size: must divide over all devices.

    Raises InputError if there are too few devices or the batch does not divide.
    """
    refuse_no_device()
    available = [jax.local_devices(i) for i in range(jax.process_count())]
    count, kind = len(available[0]), available[0][0].device_kind
    each = count if num_gpus is None else num_gpus
    if not 1 <= each <= count:
        where = 'this machine' if jax.process_count() == 1 else 'each process'
        has, use = ('one device', '1') if count == 1 else (f'{count} devices', f'1 to {count}')
        raise InputError(f'invalid --num_gpus={each}: {where} has {has} ({kind}); use {use}')
    chosen = [device for of_process in available for device in of_process[:each]]
    refuse_uneven_batch(batch_size, len(chosen))
    return chosen


def refuse_uneven_batch(batch_size: int, num_devices: int) -> None:
    """Raises InputError if the batch does not divide over the devices."""
    if batch_size % num_devices:
        raise InputError(
            f'--batch_size={batch_size} does not divide over {num_devices} devices; use a '
            f'multiple of {num_devices}, or another --num_gpus'
        )


def cache_compiled_programs(devices: Sequence[jax.Device]) -> None:
    """Caches programs compiled for GPU and TPU in the cache folder of the user, if there is one.

    A user of a container may have no home, and a computing node one that is read-only.
    """
    if devices[0].platform == 'cpu' or jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    folder = os.path.join(cache, 'bodycomp_jax')
    if not os.path.isabs(folder):
        return
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    if os.access(folder, os.W_OK | os.X_OK):
        jax.config.update('jax_compilation_cache_dir', folder)


def compute_dtype(precision: str, devices: Sequence[jax.Device]) -> jnp.dtype:
    """The type that 'auto', 'float32' or 'bfloat16' means on these devices.

    bfloat16 gains nothing on CPU, which has no instructions for it.
    """
    if precision == 'auto':
        precision = 'float32' if devices[0].platform == 'cpu' else 'bfloat16'
    return jnp.dtype(precision)


def compiled(lowered: jax.stages.Lowered, devices: Sequence[jax.Device]) -> jax.stages.Compiled:
    """The program, with the options that are fastest on these devices."""
    return lowered.compile(COMPILER_OPTIONS.get(devices[0].platform))


def program_memory(program: jax.stages.Compiled, devices: Sequence[jax.Device]) -> tuple[int, int]:
    """(bytes that a compiled program needs per device, bytes that are available for it).

    The arguments are assumed to be on the device already and are not counted twice.
    """
    sizes: Any = program.memory_analysis()
    needed = (
        sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        + sizes.temp_size_in_bytes
        - sizes.alias_size_in_bytes
    )
    stats = _memory_stats()
    if stats is None:  # the virtual devices of a CPU share the memory of the host
        return needed, host_memory.total_bytes() // num_local(devices)
    others = max(0, stats['bytes_in_use'] - sizes.argument_size_in_bytes)
    return needed, stats['bytes_limit'] - others


def free_memory(devices: Sequence[jax.Device]) -> int:
    """Free bytes per device."""
    stats = _memory_stats()
    if stats is None:
        return host_memory.available_bytes() // num_local(devices)
    return stats['bytes_limit'] - stats['bytes_in_use']


def peak_memory() -> int | None:
    """The most bytes in use on a device so far; None on CPU, which does not record it."""
    stats = _memory_stats()
    return None if stats is None else stats['peak_bytes_in_use']


def num_local(devices: Sequence[jax.Device]) -> int:
    """How many of the devices belong to this process."""
    return sum(device.process_index == jax.process_index() for device in devices)


def _memory_stats() -> dict | None:
    """Statistics of an accelerator's allocator; None on CPU."""
    return jax.local_devices()[0].memory_stats()
