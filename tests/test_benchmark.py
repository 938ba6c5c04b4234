import gzip
import json
import math

import jax
import numpy as np
import pytest
from conftest import SIDE, tiny_config

from bodycomp_jax import benchmark
from bodycomp_jax.config import BenchmarkConfig, SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.errors import InputError
from bodycomp_jax.models import densenet, unet
from bodycomp_jax.training import segmentation

CONFIG = tiny_config()
SUBJECT = benchmark.SUBJECTS[SegmentationConfig]


def task_on(devices):
    return segmentation.task(CONFIG, devices=devices, steps_per_epoch=1)


def test_a_step_sends_no_more_than_it_must(data_dir):
    """808 weights, 3 x 3 + 2 loss sums, 3 batch norms of 4 + 8 + 4 channels; 3 votes."""
    devices = jax.local_devices()[:4]
    batch = open_sets(data_dir, CONFIG)[0].read(np.arange(8))
    rows = benchmark.collectives(task_on(devices), batch, devices)
    counted = {row['what']: (row['collectives'], row['bytes']) for row in rows}
    assert counted['least: gradients'] == (1, 4 * 808)
    assert counted['least: loss sums'] == (1, 4 * 11)
    assert counted['least: batch statistics'] == (6, 2 * 2 * 4 * 16)
    least = (8, 4 * (808 + 11 + 64))
    assert counted['least'] == least
    votes = 4 * 3
    assert counted['the compiled step'] == (8, least[1] + votes)
    with pytest.raises(InputError, match='one device sends nothing'):
        benchmark.collectives(task_on(devices[:1]), batch, devices[:1])


def test_speeds_and_the_floor_agree_with_each_other(monkeypatch):
    monkeypatch.setitem(benchmark.MATRIX, 'cpu', 64)
    monkeypatch.setitem(benchmark.COPIED, 'cpu', 1 << 16)
    bench = BenchmarkConfig(image_size=SIDE, steps=1, windows=3, slices=8)
    devices = jax.local_devices()[:2]
    with benchmark.written_set(SUBJECT, bench, CONFIG) as dataset:
        floor, rows = benchmark.speeds(SUBJECT, task_on(devices), bench, CONFIG, dataset, devices)
    assert len(rows) == 4
    for row in rows:
        assert 0 < row['slowest'] <= row['images_per_second'] <= row['fastest']
        rate = 1e3 * CONFIG.batch_size / row['milliseconds']
        assert row['images_per_second'] == pytest.approx(rate)
    for row in rows[:2]:
        share = floor['floor_milliseconds'] / row['milliseconds']
        assert row['share_of_floor'] == pytest.approx(share)
    # 9 x 4 + 36 x 8 / 4 + (36 + 32) x 4 + 16 products a pixel; the first has no input gradient.
    products = SIDE**2 * (36 + 72 + 272 + 16)
    operations = 2 * 4 * (3 * products - SIDE**2 * 36)
    assert floor['gflop_per_step'] == pytest.approx(operations / 1e9)
    values = SIDE**2 * (4 * 6 + 2 * 5 + 4 * 5 + 4 * 5)
    least = 4 * (4 * values + SIDE**2 * 3) + 808 * 24
    assert floor['least_gbyte_per_step'] == pytest.approx(least / 1e9)


def test_the_default_network_has_the_products_that_the_reference_has_but_for_upsampling():
    costs = unet.convolution_costs(SegmentationConfig(), 512)
    assert math.isclose(sum(c.values * c.taps for c in costs) / 1e9, 7.2687, rel_tol=1e-4)


def test_the_slice_selection_network_is_measured_too(monkeypatch):
    monkeypatch.setitem(benchmark.MATRIX, 'cpu', 64)
    monkeypatch.setitem(benchmark.COPIED, 'cpu', 1 << 16)
    config = SliceSelectionConfig(
        nb_layers_per_block=1, nb_blocks=2, nb_initial_filters=2, growth_rate=2, batch_size=2
    )
    bench = BenchmarkConfig(image_size=64, steps=1, windows=1, slices=4)
    about, rows = benchmark.measure(bench, config, jax.local_devices()[:1])
    assert about['network'] == 'slice_selection'
    assert rows[0]['what'] == 'train, data on the device'
    assert all(row['images_per_second'] > 0 for row in rows)


def test_the_products_of_a_small_densenet_by_hand():
    """Side 16: 8 after the first convolution, 3 after pooling, 1 after the transition."""
    config = SliceSelectionConfig(
        nb_layers_per_block=2, nb_blocks=2, nb_initial_filters=4, growth_rate=3
    )
    products = [cost.values * cost.taps for cost in densenet.convolution_costs(config, 16)]
    layers = [9 * 12 * 4, 9 * 3 * 9 * 12, 9 * 12 * 7, 9 * 3 * 9 * 12]
    transition = 9 * 5 * 6  # (4 + 6) / 2 channels from the 6 new ones
    last = [12 * 5, 3 * 9 * 12, 12 * 8, 3 * 9 * 12]
    assert sum(products) == 64 * 4 * 49 + sum(layers) + transition + sum(last)


def test_a_profile_lists_the_costliest_operations(tmp_path):
    bench = BenchmarkConfig(image_size=SIDE, steps=2, slices=8, profile=str(tmp_path))
    devices = jax.local_devices()[:1]
    with benchmark.written_set(SUBJECT, bench, CONFIG) as dataset:
        rows = benchmark.profile(task_on(devices), bench, CONFIG, dataset, devices)
    assert len(rows) == 10
    shares = [row['share'] for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1
    assert any('conv' in row['computes'] for row in rows)
    (trace,) = tmp_path.rglob('*.trace.json.gz')
    assert json.loads(gzip.decompress(trace.read_bytes()))['traceEvents']


@pytest.mark.parametrize(
    ('flags', 'message'),
    [({'image_size': 33}, 'multiple of 2'), ({'slices': 7}, 'fewer than one batch')],
)
def test_what_cannot_be_measured_is_refused(flags, message):
    bench = BenchmarkConfig(**flags)
    with pytest.raises(InputError, match=message), benchmark.written_set(SUBJECT, bench, CONFIG):
        pass


def test_impossible_numbers_are_refused():
    with pytest.raises(InputError, match='--windows: 0 is not possible'):
        BenchmarkConfig(windows=0)
