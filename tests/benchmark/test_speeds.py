"""What the benchmark reports, by a clock that is replaced and by numbers counted by hand."""

import pytest
from helpers import SIDE

from bodycomp_jax.benchmark import roofline
from bodycomp_jax.benchmark.speeds import Mode, speeds
from bodycomp_jax.runtime.devices import program_memory

PIXELS = SIDE**2
MODES = [
    'train, one batch on the device',
    'train, streamed',
    'train, set cached on the devices',
    'predict, one batch on the device',
    'predict, from host to host',
    'read',
]


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
    batch, (rates, rows) = case.config.batch_size, speeds(case, training)
    matrix, copy = 2 * 64**3 / 0.5 / 1e9, 2 * 65536 / 0.5 / 1e9
    assert rates == pytest.approx(
        {
            'matrix_gflop_per_second': matrix,
            'copy_gbyte_per_second': copy,
            'host_copy_gbyte_per_second': copy,
        }
    )
    assert [row['what'] for row in rows] == MODES
    assert {row['images_per_second'] for row in rows} == {batch / 0.5}
    products = PIXELS * (36 + 72 + 272 + 16)  # of a slice, as in test_roofline
    trained = 2 * (batch // 4) * (3 * products - 36 * PIXELS) / 1e9
    predicted = 2 * batch * products / 1e9
    gflop = [trained] * 3 + [predicted] * 2 + [0]
    assert [row['gflop'] for row in rows] == pytest.approx(gflop)
    files = 3 * PIXELS  # int16 HU and uint8 labels of a slice
    results = (2 + 4 * 4 + 1) * PIXELS  # int16 HU, four float32 probabilities, a label
    trained = batch // 4 * (4 * 74 * PIXELS + files) + 808 * 24
    predicted = batch * (4 * 32 * PIXELS + results) + 808 * 4
    gbyte = [size / 1e9 for size in [trained] * 3 + [predicted] * 2 + [2 * batch * files]]
    assert [row['least_gbyte'] for row in rows] == pytest.approx(gbyte)
    fractions = [
        max(flop / matrix, size / copy) / 0.5 for flop, size in zip(gflop, gbyte, strict=True)
    ]
    assert [row['roofline_fraction'] for row in rows] == pytest.approx(fractions)
    needed, _ = program_memory(training.compiled, case.devices)
    assert needed > 3 * 4 * 808 + batch // 4 * files  # weights, moments and batch of a device
    memory = [row['device_megabytes'] for row in rows]
    assert memory[:3] == [needed / 1e6] * 3
    assert memory[3] > (batch * results + 4 * 808) / 1e6
    assert memory[4:] == [None, None]
