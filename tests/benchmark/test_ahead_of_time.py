"""What is reported of a compiled step: on the CPU by hand, and for devices that are not there."""

import types

import jax
import pytest
from helpers import SIDE, tiny_config

from bodycomp_jax.benchmark.ahead_of_time import ahead_of_time
from bodycomp_jax.benchmark.cases import Case, prepared
from bodycomp_jax.benchmark.options import BenchmarkConfig
from bodycomp_jax.benchmark.targets import absent_devices
from bodycomp_jax.errors import InputError, RunError


def test_the_report_by_hand(case):
    """Four devices of the CPU; the work of a device as in test_speeds."""
    numbers, rows = ahead_of_time(case, 'h100')
    pixels, slices = SIDE**2, case.config.batch_size // 4
    products = pixels * (36 + 72 + 272 + 16)
    assert numbers['least_gflop'] == pytest.approx(2 * slices * (3 * products - 36 * pixels) / 1e9)
    least = slices * (4 * 74 * pixels + 3 * pixels) + 808 * 24
    assert numbers['least_gbyte'] == pytest.approx(least / 1e9)
    assert numbers['least_fraction'] == pytest.approx(least / 1e9 / numbers['tiled_gbyte'])
    assert numbers['gbyte'] == numbers['tiled_gbyte']  # nothing is padded
    assert (numbers['collectives'], numbers['collective_megabytes']) == (8, 0.003548)
    weights = 4 * (3 * 808 + 2 * 16)  # and moments, means and variances
    assert weights / 1e6 < numbers['argument_megabytes'] < (weights + 4 * slices * pixels) / 1e6
    assert numbers['temporary_megabytes'] > 0
    assert numbers['gathers'] > 0  # of the augmentation
    assert numbers['cudnn_calls'] == 0
    assert numbers['largest_window'] == SIDE  # of the gradient of a kernel
    assert len(rows) == 10 < numbers['kernels']
    gbyte = [row['gbyte'] for row in rows]
    assert gbyte == sorted(gbyte, reverse=True)
    assert 0 < sum(gbyte) < numbers['gbyte']
    assert all(row['million_cycles'] is None for row in rows)
    assert any('UNet' in row['computes'] for row in rows)


def test_a_step_that_cannot_be_compiled(case, monkeypatch):
    def compile(options):
        raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Used 20G of 15.75G\nand more')

    lowered = types.SimpleNamespace(compile=compile)
    monkeypatch.setattr(Case, 'lower_step', lambda *arguments: lowered)
    message = r'v5e: XLA cannot .* \(RESOURCE_EXHAUSTED: Used 20G of 15.75G\); .*smaller --batch'
    with pytest.raises(RunError, match=message):
        ahead_of_time(case, 'v5e')


def report_of(target, augmentation):
    """The numbers of a step of a small network; skips without a compiler."""
    config = tiny_config(
        compression_channels=(8, 16),
        decompression_channels=(8,),
        batch_size=16,
        augmentation=augmentation,
    )
    try:
        devices = absent_devices(target, None, config.batch_size)
    except InputError as error:
        pytest.skip(str(error))
    bench = BenchmarkConfig(image_size=64, slices=config.batch_size)
    with prepared(bench, config, devices) as case:
        return ahead_of_time(case, target)[0]


def test_a_step_for_a_tpu(settings_of_jax):
    """No gather, which would take pixels one by one; no more traffic and cycles than recorded."""
    numbers = report_of('v5e', 'strong')
    assert numbers['gathers'] == 0
    assert numbers['tiled_gbyte'] < 1.05 * 0.00102  # most arrays stay on the chip
    assert numbers['million_cycles'] < 1.05 * 1.162


@pytest.mark.parametrize(('augmentation', 'gbyte'), [('none', 0.0601), ('strong', 0.0654)])
def test_a_step_for_a_gpu(settings_of_jax, augmentation, gbyte):
    """No gradient that XLA computes with a window of the image, no more traffic than recorded."""
    numbers = report_of('h100', augmentation)
    assert numbers['gbyte'] < 1.05 * gbyte
    assert numbers['largest_window'] <= 7
