import os
import types

import jax
import jax.numpy as jnp
import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime import devices, host_memory
from bodycomp_jax.runtime.devices import choose_devices, compute_dtype


def test_devices_must_exist_and_divide_the_batch():
    assert choose_devices(None, 16) == jax.local_devices()
    assert choose_devices(2, 6) == jax.local_devices()[:2]
    for num_gpus in (9, 0):
        with pytest.raises(InputError, match=f'--num_gpus={num_gpus}: this machine has 8'):
            choose_devices(num_gpus, 16)
    with pytest.raises(InputError, match='--batch_size=12 does not divide over 8 devices'):
        choose_devices(8, 12)


def test_variables_that_name_missing_devices_are_named(monkeypatch):
    def fail():
        raise RuntimeError("Unknown backend: 'gpu'")

    monkeypatch.setattr(devices.jax, 'local_devices', fail)
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.setenv('JAX_PLATFORM_NAME', 'gpu')
    message = 'for JAX_PLATFORMS=cpu and JAX_PLATFORM_NAME=gpu .*, and unset JAX_PLATFORM_NAME'
    with pytest.raises(InputError, match=message):
        devices.refuse_no_device()


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


def test_virtual_devices_share_the_memory_of_the_host(monkeypatch):
    monkeypatch.setattr(host_memory, 'total_bytes', lambda: 64_000)
    monkeypatch.setattr(host_memory, 'available_bytes', lambda: 16_000)
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


@pytest.fixture
def gpu_cache(monkeypatch):
    """Chooses the cache of a GPU; returns it."""
    configured = {}
    monkeypatch.setattr(
        devices.jax,
        'config',
        types.SimpleNamespace(jax_compilation_cache_dir=None, update=configured.__setitem__),
    )

    def choose():
        devices.cache_compiled_programs([types.SimpleNamespace(platform='gpu')])
        return configured.get('jax_compilation_cache_dir')

    return choose


def test_compiled_programs_are_cached_in_the_cache_folder_of_the_user(
    gpu_cache, monkeypatch, tmp_path
):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    assert gpu_cache() == str(tmp_path / 'cache' / 'bodycomp_jax')


@pytest.mark.parametrize('cache', ['/proc/none', 'relative', None])
def test_without_a_writable_home_nothing_is_cached_or_created(
    gpu_cache, monkeypatch, tmp_path, cache
):
    """None: a user of a container without a home, whose '~' stays as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    if cache is not None:
        monkeypatch.setenv('XDG_CACHE_HOME', cache)
    assert gpu_cache() is None
    assert not list(tmp_path.iterdir())
