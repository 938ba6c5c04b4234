import types

import jax
import jax.numpy as jnp
import psutil
import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime import devices
from bodycomp_jax.runtime.devices import choose_devices, compute_dtype


def test_devices_must_exist_and_divide_the_batch():
    assert choose_devices(None, 16) == jax.local_devices()
    assert choose_devices(2, 6) == jax.local_devices()[:2]
    for num_gpus in (9, 0):
        with pytest.raises(InputError, match=f'--num_gpus={num_gpus}: this machine has 8'):
            choose_devices(num_gpus, 16)
    with pytest.raises(InputError, match='--batch_size=12 does not divide over 8 devices'):
        choose_devices(8, 12)


@pytest.mark.parametrize(('in_use', 'available'), [(0, 10_000), (800, 10_000), (5000, 5800)])
def test_memory_of_others_is_not_available_to_a_program(monkeypatch, in_use, available):
    """The 800 bytes of its argument may be on the device already; the result is as large."""
    compiled = jax.jit(lambda x: x + 1).lower(jnp.zeros(200, jnp.float32)).compile()
    stats = {'bytes_limit': 10_000, 'bytes_in_use': in_use, 'peak_bytes_in_use': 9000}
    device = types.SimpleNamespace(memory_stats=lambda: stats)
    monkeypatch.setattr(devices.jax, 'local_devices', lambda: [device])
    assert devices.program_memory(compiled, [device]) == (1600, available)
    assert devices.free_memory([device]) == 10_000 - in_use
    assert devices.peak_memory() == 9000


def test_the_page_cache_of_the_host_counts_as_free_and_virtual_devices_share_it(monkeypatch):
    memory = psutil.virtual_memory()._replace(total=64_000, free=1000, available=16_000)
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: memory)
    assert devices.free_memory(jax.local_devices()[:1]) == 16_000
    assert devices.free_memory(jax.local_devices()) == 2000
    compiled = jax.jit(lambda x: x + 1).lower(jnp.zeros(200, jnp.float32)).compile()
    assert devices.program_memory(compiled, jax.local_devices()) == (1600, 8000)
    assert devices.peak_memory() is None


@pytest.mark.parametrize(
    ('precision', 'platform', 'expected'),
    [
        ('auto', 'cpu', 'float32'),
        ('auto', 'gpu', 'bfloat16'),
        ('auto', 'tpu', 'bfloat16'),
        ('float32', 'gpu', 'float32'),
        ('bfloat16', 'cpu', 'bfloat16'),
    ],
)
def test_precision_depends_on_the_device_unless_it_is_given(precision, platform, expected):
    device = types.SimpleNamespace(platform=platform)
    assert compute_dtype(precision, [device]) == jnp.dtype(expected)
