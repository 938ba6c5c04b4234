"""What is reported of a compiled step: on the CPU by hand, and for devices that are not there."""

import types

import jax
import pytest
from helpers import SIDE

from bodycomp_jax.benchmark.ahead_of_time import ahead_of_time
from bodycomp_jax.benchmark.cases import Case
from bodycomp_jax.errors import RunError

# Of the network below: figures of jax 0.10.2, with 5 % for other versions.
MOST_GBYTE = {'v5e': 0.0, 'h100': 1.05 * 0.0813}
MOST_CYCLES = 1.05 * 1.7e6


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
