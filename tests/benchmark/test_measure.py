import dataclasses
import gzip
import json
import math

import jax
import numpy as np
import pytest
from helpers import SIDE, tiny_config

from bodycomp_jax.benchmark import measure, roofline
from bodycomp_jax.config import BenchmarkConfig, SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.errors import InputError, WorkError
from bodycomp_jax.models import densenet, unet

CONFIG = tiny_config()


def test_a_step_sends_no_more_than_it_must():
    """808 weights, 3 x 3 + 2 loss sums, 3 batch norms of 4 + 8 + 4 channels; 3 votes."""
    bench = BenchmarkConfig(image_size=SIDE, slices=8)
    with measure.prepared(bench, CONFIG, jax.local_devices()[:4]) as case:
        rows = measure.collectives(case)
    counted = {row['what']: (row['collectives'], row['bytes']) for row in rows}
    assert counted['least: gradients'] == (1, 4 * 808)
    assert counted['least: loss sums'] == (1, 4 * 11)
    assert counted['least: batch statistics'] == (6, 2 * 2 * 4 * 16)
    least = (8, 4 * (808 + 11 + 64))
    assert counted['least'] == least
    votes = 4 * 3
    assert counted['the compiled step'] == (8, least[1] + votes)
    case = dataclasses.replace(case, devices=jax.local_devices()[:1])
    with pytest.raises(InputError, match='one device sends nothing'):
        measure.collectives(case)


@pytest.fixture
def small_rates(monkeypatch):
    """Small matrices and copies, and few batches in a window of reading."""
    monkeypatch.setitem(roofline.MATRIX, 'cpu', 64)
    monkeypatch.setitem(roofline.COPIED, 'cpu', 1 << 16)
    monkeypatch.setattr(roofline, 'COPIED_BY_HOST', 1 << 16)
    monkeypatch.setattr(measure, 'READ_STEPS', 1)


def test_speeds_and_floors_agree_with_each_other(small_rates):
    bench = BenchmarkConfig(image_size=SIDE, steps=1, windows=3, slices=8)
    with measure.prepared(bench, CONFIG, jax.local_devices()[:2]) as case:
        rates, rows = measure.speeds(case)
    assert len(rows) == 6
    for row in rows:
        assert 0 < row['slowest'] <= row['images_per_second'] <= row['fastest']
        rate = 1e3 * CONFIG.batch_size / row['milliseconds']
        assert row['images_per_second'] == pytest.approx(rate)
        on_host = row['what'] == 'read'
        copied = rates['host_copy_gbyte_per_second' if on_host else 'copy_gbyte_per_second']
        least_seconds = max(
            row['gflop'] / rates['matrix_gflop_per_second'], row['least_gbyte'] / copied
        )
        share = 1e3 * least_seconds / row['milliseconds']
        assert row['share_of_floor'] == pytest.approx(share)
    products = SIDE**2 * (36 + 72 + 272 + 16)  # of a slice, reckoned below
    trained = 2 * 4 * (3 * products - SIDE**2 * 36) / 1e9  # half of the batch on each device
    predicted = 2 * 8 * products / 1e9
    expected = [trained, trained, trained, predicted, predicted, 0]
    assert [row['gflop'] for row in rows] == pytest.approx(expected)
    slices = 8 * (SIDE**2 * 3 + 4)  # int16, uint8 and a weight
    assert rows[-1]['least_gbyte'] == pytest.approx(2 * slices / 1e9)


def test_the_least_work_of_a_small_network_by_hand():
    """9 x 4 + 36 x 8 / 4 + (36 + 32) x 4 + 16 products a pixel; the first has no input gradient."""
    costs = unet.convolution_costs(CONFIG, SIDE)
    dtype, pixels = np.dtype(np.float16), SIDE**2
    trained = roofline.training_work(costs, 4, dtype, weights=808, slice_bytes=1000)
    products = 36 + 72 + 272 + 16
    assert trained.operations == 2 * 4 * pixels * (3 * products - 36)
    values = 4 * 6 + 2 * 5 + 4 * 5 + 4 * 5
    assert trained.bytes == 4 * 2 * pixels * values + 1000 + 808 * 24
    predicted = roofline.prediction_work(costs, 4, dtype, weights=808, slice_bytes=1000)
    assert predicted.operations == 2 * 4 * pixels * products
    values = 4 * 3 + 2 * 2 + 4 * 2 + 4 * 2
    assert predicted.bytes == 4 * 2 * pixels * values + 1000 + 808 * 4
    assert roofline.reading_work(1000) == (0, 2000)


def test_the_default_network_has_the_products_that_the_reference_has_but_for_upsampling():
    costs = unet.convolution_costs(SegmentationConfig(), 512)
    assert math.isclose(sum(c.values * c.taps for c in costs) / 1e9, 7.2687, rel_tol=1e-4)


def test_the_slice_selection_network_is_measured_too(small_rates):
    config = SliceSelectionConfig(
        nb_layers_per_block=1, nb_blocks=2, nb_initial_filters=2, growth_rate=2, batch_size=2
    )
    bench = BenchmarkConfig(image_size=64, steps=1, windows=1, slices=4)
    about, rows = measure.measure(bench, config, jax.local_devices()[:1])
    assert about['network'] == 'slice_selection'
    assert rows[0]['what'] == 'train, one batch on the device'
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


def test_a_profile_lists_the_costliest_operations(tmp_path, monkeypatch):
    bench = BenchmarkConfig(image_size=SIDE, steps=2, slices=8, profile=str(tmp_path))
    with measure.prepared(bench, CONFIG, jax.local_devices()[:1]) as case:
        rows = measure.profile(case)
        (trace,) = tmp_path.rglob('*.trace.json.gz')
        assert json.loads(gzip.decompress(trace.read_bytes()))['traceEvents']
        monkeypatch.setattr(measure.json, 'load', lambda file: {'traceEvents': []})
        with pytest.raises(WorkError, match='XLA_FLAGS=--xla_gpu_enable_command_buffer= before'):
            measure.profile(case)
    assert len(rows) == 10
    shares = [row['share'] for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1
    assert any('conv' in row['computes'] for row in rows)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [({'image_size': 33}, 'multiple of 2'), ({'slices': 7}, 'fewer than one batch')],
)
def test_what_cannot_be_measured_is_refused(flags, message):
    bench, devices = BenchmarkConfig(**flags), jax.local_devices()[:1]
    with pytest.raises(InputError, match=message), measure.prepared(bench, CONFIG, devices):
        pass


def test_impossible_numbers_are_refused():
    with pytest.raises(InputError, match='--windows: 0 is not possible'):
        BenchmarkConfig(windows=0)
