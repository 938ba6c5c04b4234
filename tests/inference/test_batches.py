"""Batches on one device and on several."""

import jax
import numpy as np
import pytest

from bodycomp_jax import load_model
from bodycomp_jax.inference.batches import MAX_BATCH, in_batches, replicated


@pytest.mark.parametrize('n', [1, 2, 3, 17, 50])
@pytest.mark.parametrize('count', [0, 1, 2, 3, 8])
def test_each_slice_has_its_own_result_on_any_number_of_devices(n, count):
    devices = jax.local_devices()[:count]
    slices = np.arange(n * 4, dtype=np.int16).reshape(n, 2, 2)
    factor = replicated(np.int16(3), devices)
    seen = []

    def function(batch):
        seen.append(batch)
        return {'tripled': batch * factor, 'sum': batch.sum((1, 2))}

    results = {'tripled': np.zeros_like(slices), 'sum': np.zeros(n, int)}
    in_batches(function, slices, results, devices)
    np.testing.assert_array_equal(results['tripled'], 3 * slices)
    np.testing.assert_array_equal(results['sum'], slices.sum((1, 2)))
    for batch in seen:
        assert len(batch.sharding.device_set) == max(1, count)
        assert batch.addressable_data(0).shape[0] <= MAX_BATCH


def test_a_network_on_all_devices_answers_as_on_one(finished_run, data_dir):
    images = np.load(data_dir / 'train_images.npy')[..., 0]
    one, all_devices = (load_model(finished_run.run_dir, all_devices=a) for a in (False, True))
    for n in (1, len(images)):
        probabilities, labels = all_devices(images[:n])
        np.testing.assert_allclose(probabilities, one(images[:n])[0], atol=1e-6)
        np.testing.assert_array_equal(labels, one(images[:n])[1])
    weights = jax.tree.leaves(all_devices.variables)
    assert all(len(leaf.sharding.device_set) == len(jax.devices()) for leaf in weights)
    (member,) = all_devices.members()
    assert member is all_devices
