import jax
import numpy as np
from conftest import SIDE, tiny_config

from bodycomp_jax import benchmark
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.training import segmentation


def test_a_step_sends_no_more_than_it_must(data_dir):
    """808 weights, 3 x 3 + 2 loss sums, 3 batch norms of 4 + 8 + 4 channels; 3 votes."""
    config = tiny_config()
    devices = jax.local_devices()[:4]
    task = segmentation.task(config, devices=devices, steps_per_epoch=1)
    batch = open_sets(data_dir, config)[0].read(np.arange(8))
    assert batch['image'].shape == (8, SIDE, SIDE)
    rows = benchmark.collectives(task, batch, devices)
    counted = {row['what']: (row['collectives'], row['bytes']) for row in rows}
    assert counted['least: gradients'] == (1, 4 * 808)
    assert counted['least: loss sums'] == (1, 4 * 11)
    assert counted['least: batch statistics'] == (6, 2 * 2 * 4 * 16)
    least = (8, 4 * (808 + 11 + 64))
    assert counted['least'] == least
    votes = 4 * 3
    assert counted['the compiled step'] == (8, least[1] + votes)
