import jax
import jax.numpy as jnp
import numpy as np

from bodycomp_jax.training import data_parallel


def test_each_device_has_its_rows_and_the_sum_is_of_all():
    devices = jax.local_devices()[:4]
    batch = data_parallel.shard_batch({'x': np.arange(8.0, dtype=np.float32)}, devices)
    assert batch['x'].shape == (4, 2)

    def step(state, batch):
        rows = data_parallel.example_indices(2)
        agrees = (rows == batch['x'].astype(int)).all()
        return {
            'sum': data_parallel.sum_over_devices(state['scale'] * batch['x'].sum()),
            'agree': data_parallel.sum_over_devices(agrees.astype(int)),
            'examples': data_parallel.gather_examples(10 * batch['x']),
        }

    state = data_parallel.replicate({'scale': jnp.float32(2)}, devices)
    result = data_parallel.pmap_step(step, devices)(state, batch)
    assert result['sum'] == 2 * 28
    assert result['agree'] == 4
    np.testing.assert_array_equal(result['examples'], 10 * np.arange(8))


def test_arrays_on_each_device_are_summed_once_per_device():
    devices = jax.local_devices()[:4]
    flags = data_parallel.on_each_device(np.array([0, 1, 0], np.float32), devices)
    total = data_parallel.pmap_step(
        lambda state, flags: data_parallel.sum_over_devices(flags), devices
    )({'unused': jnp.zeros(())}, flags)
    assert total.tolist() == [0, 4, 0]
