"""The whole benchmark, by a clock that is replaced."""

import jax
import pytest
from helpers import tiny_config

from bodycomp_jax.benchmark.costs import densenet_costs
from bodycomp_jax.benchmark.measure import measure
from bodycomp_jax.benchmark.options import BenchmarkConfig
from bodycomp_jax.config import (
    DenseNetConfig,
    SliceSelectionAugmentationConfig,
    SliceSelectionConfig,
)
from bodycomp_jax.errors import InputError


def test_one_device_sends_nothing():
    bench, device = BenchmarkConfig(collectives=True), jax.local_devices()[:1]
    with pytest.raises(InputError, match='invalid --collectives: one device sends nothing'):
        measure(bench, tiny_config(), device)


def test_the_slice_selection_network_is_measured_too(half_a_second):
    network = DenseNetConfig(nb_layers_per_block=1, nb_blocks=1, nb_initial_filters=2)
    config = SliceSelectionConfig(
        network=network,
        augmentation=SliceSelectionAugmentationConfig(augmentation='none'),
        batch_size=2,
    )
    bench = BenchmarkConfig(image_size=64, slices=4)
    about, rows = measure(bench, config, jax.local_devices()[:1])
    assert about['network'] == 'slice_selection'
    by_mode = {row['what']: row for row in rows}
    costs = densenet_costs(network, 256)  # the side that the slices are resized to
    products = sum(cost.values * cost.macs_per_output for cost in costs)
    assert by_mode['predict, one batch on the device']['gflop'] == pytest.approx(
        2 * 2 * products / 1e9
    )
    assert by_mode['read']['least_gbyte'] == pytest.approx(2 * 2 * (256**2 + 4) / 1e9)
