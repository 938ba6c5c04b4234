"""What the benchmark reports, by a clock that is replaced and by numbers counted by hand."""

import collections
import gzip
import json
import os
import re

import jax
import pytest
from helpers import SIDE, tiny_config

from bodycomp_jax.benchmark import measure, roofline
from bodycomp_jax.benchmark.costs import densenet_costs
from bodycomp_jax.benchmark.measure import BenchmarkConfig, Mode
from bodycomp_jax.config import (
    DenseNetConfig,
    SliceSelectionAugmentationConfig,
    SliceSelectionConfig,
)
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.runtime.devices import program_memory

CONFIG = tiny_config()
BATCH = CONFIG.batch_size
PIXELS = SIDE**2
MODES = [
    'train, one batch on the device',
    'train, streamed',
    'train, set cached on the devices',
    'predict, one batch on the device',
    'predict, from host to host',
    'read',
]


@pytest.fixture(scope='module')
def case():
    """Eight slices, the tiny network, four devices."""
    bench = BenchmarkConfig(image_size=SIDE, steps=2, slices=BATCH)
    with measure.prepared(bench, CONFIG, jax.local_devices()[:4]) as case:
        yield case


@pytest.fixture(scope='module')
def training(case):
    return measure.Training(case)


@pytest.fixture
def half_a_second(monkeypatch):
    """Runs everything that is timed once; a run takes 0.25, 0.5 and 1 second. Small copies."""

    def time_windows(run, windows, steps):
        jax.block_until_ready(run())
        return [0.25, 1.0, 0.5]

    monkeypatch.setattr(roofline, 'time_windows', time_windows)
    monkeypatch.setitem(roofline.MATRIX_SIDE, 'cpu', 64)
    monkeypatch.setitem(roofline.COPY_BYTES, 'cpu', 1 << 16)
    monkeypatch.setattr(roofline, 'HOST_COPY_BYTES', 1 << 16)


def test_a_row_by_hand():
    mode = Mode('read', [0.5, 4.0, 0.25], roofline.Work(operations=6e9, bytes=3e9), 5_000_000)
    assert mode.row(8, roofline.Rates(operations=48e9, bytes=12e9)) == {
        'what': 'read',
        'images_per_second': 16,
        'slowest': 2,
        'fastest': 32,
        'milliseconds': 500,
        'gflop': 6,
        'least_gbyte': 3,
        'roofline_fraction': 0.5,
        'device_megabytes': 5,
    }
    assert mode._replace(memory=None).row(8, roofline.Rates(1, 1))['device_megabytes'] is None


def test_speeds_by_hand(case, training, half_a_second):
    """Work on one of four devices in training, of the whole batch in prediction and reading."""
    rates, rows = measure.speeds(case, training)
    matrix, copy = 2 * 64**3 / 0.5 / 1e9, 2 * 65536 / 0.5 / 1e9
    assert rates == pytest.approx(
        {
            'matrix_gflop_per_second': matrix,
            'copy_gbyte_per_second': copy,
            'host_copy_gbyte_per_second': copy,
        }
    )
    assert [row['what'] for row in rows] == MODES
    assert {row['images_per_second'] for row in rows} == {BATCH / 0.5}
    products = PIXELS * (36 + 72 + 272 + 16)  # of a slice, as in test_roofline
    trained = 2 * (BATCH // 4) * (3 * products - 36 * PIXELS) / 1e9
    predicted = 2 * BATCH * products / 1e9
    gflop = [trained] * 3 + [predicted] * 2 + [0]
    assert [row['gflop'] for row in rows] == pytest.approx(gflop)
    files = 3 * PIXELS  # int16 HU and uint8 labels of a slice
    results = (2 + 4 * 4 + 1) * PIXELS  # int16 HU, four float32 probabilities, a label
    trained = BATCH // 4 * (4 * 74 * PIXELS + files) + 808 * 24
    predicted = BATCH * (4 * 32 * PIXELS + results) + 808 * 4
    gbyte = [size / 1e9 for size in [trained] * 3 + [predicted] * 2 + [2 * BATCH * files]]
    assert [row['least_gbyte'] for row in rows] == pytest.approx(gbyte)
    fractions = [
        max(flop / matrix, size / copy) / 0.5 for flop, size in zip(gflop, gbyte, strict=True)
    ]
    assert [row['roofline_fraction'] for row in rows] == pytest.approx(fractions)
    needed, _ = program_memory(training.compiled, case.devices)
    assert needed > 3 * 4 * 808 + BATCH // 4 * files  # weights, moments and batch of a device
    memory = [row['device_megabytes'] for row in rows]
    assert memory[:3] == [needed / 1e6] * 3
    assert memory[3] > (BATCH * results + 4 * 808) / 1e6
    assert memory[4:] == [None, None]


def test_each_step_updates_the_state(training):
    before, step = jax.device_get(training.state.params), int(training.state.step)
    result = training.step(training.batch)
    assert result['skipped'] == 0
    assert training.state.step == step + 1
    after = jax.device_get(training.state.params)
    changed = jax.tree.map(lambda a, b: (a != b).any(), before, after)
    assert all(jax.tree.leaves(changed))


def test_a_step_sends_no_more_than_it_must(case, training):
    """808 weights, 3 x 3 + 2 loss sums, 3 batch norms of 4 + 8 + 4 channels; 4 stop flags."""
    rows = measure.collectives(case, training)
    counted = {row['what']: (row['collectives'], row['bytes']) for row in rows}
    assert counted['least: gradients'] == (1, 4 * 808)
    assert counted['least: loss sums'] == (1, 4 * 11)
    assert counted['least: batch statistics'] == (6, 2 * 2 * 4 * 16)
    least = (8, 4 * (808 + 11 + 64))
    assert counted['least'] == least
    flags = 4 * 4
    assert counted['the compiled step'] == (8, least[1] + flags)
    assert 4 * 808 <= counted['its largest collective'][1] <= 4 * (808 + 11 + 4)


def test_one_device_sends_nothing():
    bench, device = BenchmarkConfig(collectives=True), jax.local_devices()[:1]
    with pytest.raises(InputError, match='invalid --collectives: one device sends nothing'):
        measure.measure(bench, CONFIG, device)


def test_the_slice_selection_network_is_measured_too(half_a_second):
    network = DenseNetConfig(nb_layers_per_block=1, nb_blocks=1, nb_initial_filters=2)
    config = SliceSelectionConfig(
        network=network,
        augmentation=SliceSelectionAugmentationConfig(augmentation='none'),
        batch_size=2,
    )
    bench = BenchmarkConfig(image_size=64, slices=4)
    about, rows = measure.measure(bench, config, jax.local_devices()[:1])
    assert about['network'] == 'slice_selection'
    assert [row['what'] for row in rows] == MODES
    costs = densenet_costs(network, 256)  # the side that the slices are resized to
    products = sum(cost.values * cost.macs_per_output for cost in costs)
    assert rows[3]['gflop'] == pytest.approx(2 * 2 * products / 1e9)
    assert rows[5]['least_gbyte'] == pytest.approx(2 * 2 * (256**2 + 4) / 1e9)


def test_a_profile_lists_the_costliest_operations(training, tmp_path, monkeypatch):
    rows = measure.profile(training, str(tmp_path), steps=2)
    program = training.compiled.as_text()
    assert len(rows) == 10
    assert all(f'%{row["operation"]} = ' in program for row in rows)
    psum = re.search(r'%(\S+) = .*op_name="(\S+/compression_0/norm_0/psum)"', program)
    operations = [psum[1], *(f'operation {i}' for i in range(1, 11))]
    microseconds = {operation: 1000 * (11 - i) for i, operation in enumerate(operations)}
    counter = collections.Counter(microseconds)
    monkeypatch.setattr(measure, 'operation_microseconds', lambda folder: counter)
    rows = measure.profile(training, str(tmp_path), steps=2)
    assert [row['operation'] for row in rows] == operations[:10]
    assert [row['milliseconds'] for row in rows] == [i / 2 for i in range(11, 1, -1)]
    assert [row['share'] for row in rows] == [i / 66 for i in range(11, 1, -1)]
    assert [row['computes'] for row in rows] == [psum[2], *[''] * 9]
    counter.clear()
    with pytest.raises(RunError, match='XLA_FLAGS=--xla_gpu_enable_command_buffer= before'):
        measure.profile(training, str(tmp_path), steps=1)


def test_a_trace_is_summed_by_operation(tmp_path):
    """The latest trace of the folder; events of other kinds do not count."""
    events = [
        {'args': {'hlo_op': 'conv.1'}, 'dur': 3.0},
        {'args': {'hlo_op': 'add.2'}, 'dur': 1.5},
        {'args': {'hlo_op': 'conv.1'}, 'dur': 4.0},
        {'args': {'name': 'python'}, 'dur': 9.0},
        {'dur': 9.0},
    ]
    for age, in_trace in ((1000, events[:1]), (0, events)):
        path = tmp_path / f'plugins/profile/{age}/host.trace.json.gz'
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(json.dumps({'traceEvents': in_trace}).encode()))
        os.utime(path, (2000 - age, 2000 - age))
    assert measure.operation_microseconds(str(tmp_path)) == {'conv.1': 7.0, 'add.2': 1.5}


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ({'image_size': 33}, 'invalid --image_size=33: .* multiple of 2$'),
        ({'slices': 7}, 'invalid --slices=7: use at least one batch, 8'),
    ],
)
def test_settings_that_do_not_fit_are_refused(flags, message):
    bench, devices = BenchmarkConfig(**flags), jax.local_devices()[:1]
    with pytest.raises(InputError, match=message), measure.prepared(bench, CONFIG, devices):
        pass


def test_invalid_numbers_are_refused():
    with pytest.raises(InputError, match='invalid --windows=0: use a positive number'):
        BenchmarkConfig(windows=0)
