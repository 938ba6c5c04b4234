"""The devices to compute on, their precision and their memory."""

import types

import jax
import jax.numpy as jnp
import psutil
import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime import devices


def test_devices_must_exist_and_divide_the_batch():
    assert devices.choose_devices(None, 16) == jax.local_devices()
    assert devices.choose_devices(2, 6) == jax.local_devices()[:2]
    for num_gpus in (9, 0):
        with pytest.raises(InputError, match='this machine has 8'):
            devices.choose_devices(num_gpus, 16)
    with pytest.raises(InputError, match='12 does not divide over 8 devices'):
        devices.choose_devices(8, 12)


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
def test_the_precision_depends_on_the_device_unless_it_is_given(precision, platform, expected):
    device = types.SimpleNamespace(platform=platform)
    assert devices.compute_dtype(precision, [device]) == jnp.dtype(expected)


@pytest.fixture
def program():
    """A compiled program with an argument and a result of 800 bytes each."""
    return jax.jit(lambda x: x + 1).lower(jnp.zeros(200, jnp.float32)).compile()


@pytest.mark.parametrize(('in_use', 'available'), [(0, 10_000), (800, 10_000), (5000, 5800)])
def test_memory_in_use_is_not_available_to_a_program(monkeypatch, program, in_use, available):
    """But for the 800 bytes of its argument, which may be on the device already."""
    stats = {'bytes_limit': 10_000, 'bytes_in_use': in_use, 'peak_bytes_in_use': 9000}
    device = types.SimpleNamespace(memory_stats=lambda: stats, process_index=0)
    monkeypatch.setattr(devices.jax, 'local_devices', lambda: [device])
    assert devices.program_memory(program, [device]) == (1600, available)
    assert devices.free_memory([device]) == 10_000 - in_use
    assert devices.peak_memory() == 9000


def test_the_devices_of_a_cpu_share_the_memory_of_the_host(monkeypatch, program):
    """What the page cache holds is available too, as it is dropped when needed."""
    memory = types.SimpleNamespace(total=16_000, available=8000, free=400)
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: memory)
    assert devices.program_memory(program, jax.local_devices()) == (1600, 2000)
    assert devices.free_memory(jax.local_devices()[:4]) == 2000
    assert devices.peak_memory() is None
