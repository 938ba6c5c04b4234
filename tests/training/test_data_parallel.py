import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax.training import data_parallel


def test_each_device_has_its_rows_and_the_sum_is_of_all():
    devices = jax.local_devices()[:4]
    batch = data_parallel.split({'x': np.arange(8.0, dtype=np.float32)}, devices)
    assert batch['x'].shape == (4, 2)

    def step(state, batch):
        rows = data_parallel.example_indices(2)
        agrees = (rows == batch['x'].astype(int)).all()
        return {
            'sum': data_parallel.sum_over_devices(state['scale'] * batch['x'].sum()),
            'agree': data_parallel.sum_over_devices(agrees.astype(int)),
        }

    state = data_parallel.replicate({'scale': jnp.float32(2)}, devices)
    votes = data_parallel.on_each_device(np.array([0, 1, 0], np.float32), devices)
    result, votes = data_parallel.parallel(step, devices)(state, batch, votes)
    assert votes.tolist() == [0, 4, 0]
    assert result['sum'] == 2 * 28
    assert result['agree'] == 4


@pytest.mark.parametrize(('in_use', 'there'), [(0, 10_000), (800, 10_000), (5000, 5800)])
def test_memory_that_others_use_is_not_there_for_a_program(monkeypatch, in_use, there):
    """The 800 bytes of its argument may be there already; the result is as large."""
    compiled = jax.jit(lambda x: x + 1).lower(jnp.zeros(200, jnp.float32)).compile()
    stats = {'bytes_limit': 10_000, 'bytes_in_use': in_use, 'peak_bytes_in_use': 9000}
    device = types.SimpleNamespace(memory_stats=lambda: stats)
    monkeypatch.setattr(data_parallel.jax, 'local_devices', lambda: [device])
    assert data_parallel.memory(compiled, [device]) == (1600, there)
    assert data_parallel.free_memory([device]) == 10_000 - in_use
    assert data_parallel.peak_memory() == 9000


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
    class Device:
        pass

    device = Device()
    device.platform = platform
    assert data_parallel.compute_dtype(precision, [device]) == jnp.dtype(expected)
