"""Least work and measured rates, by hand and by a clock that counts."""

import itertools
import math
import types

import numpy as np
import pytest
from helpers import SIDE, tiny_config

from bodycomp_jax.benchmark import roofline
from bodycomp_jax.benchmark.costs import unet_costs
from bodycomp_jax.benchmark.roofline import Rates, Work


@pytest.fixture
def clock(monkeypatch):
    """Each reading is a second after the one before, so every window takes one second."""
    ticks = itertools.count()
    monkeypatch.setattr(roofline, 'time', types.SimpleNamespace(perf_counter=ticks.__next__))


def test_a_window_is_timed_after_the_warm_up(clock):
    runs = []
    seconds = roofline.time_windows(lambda: runs.append(0), windows=3, steps=4)
    assert seconds == [1 / 4] * 3
    assert len(runs) == roofline.WARM_UP_STEPS + 3 * 4


def test_rates_are_work_per_second(clock, monkeypatch):
    """A matrix product of side 8 has 512 multiplications and additions; copies count twice."""
    monkeypatch.setitem(roofline.MATRIX_SIDE, 'cpu', 8)
    monkeypatch.setitem(roofline.COPY_BYTES, 'cpu', 1024)
    monkeypatch.setattr(roofline, 'HOST_COPY_BYTES', 4096)
    rates = roofline.device_rates(np.dtype(np.float32), windows=2, steps=10)
    assert rates == pytest.approx((10 * 2 * 512, 10 * 2 * 1024))
    assert roofline.host_rates(windows=2, steps=10) == pytest.approx((math.inf, 10 * 2 * 4096))


def test_the_roofline_is_the_longer_of_two_times():
    rates = Rates(operations=10, bytes=2)
    assert rates.least_seconds(Work(operations=30, bytes=4)) == 3
    assert rates.least_seconds(Work(operations=30, bytes=8)) == 4


def test_the_least_work_of_a_small_network_by_hand():
    """9 x 4 + 36 x 8 / 4 + (36 + 32) x 4 + 16 products a pixel; the first has no input gradient."""
    costs = unet_costs(tiny_config().network, SIDE)
    dtype, pixels = np.dtype(np.float16), SIDE**2
    trained = roofline.training_work(costs, 4, dtype, weights=808, batch_bytes=1000)
    products = 36 + 72 + 272 + 16
    assert trained.operations == 2 * 4 * pixels * (3 * products - 36)
    values = 4 * 6 + 2 * 5 + 4 * 5 + 4 * 5
    assert trained.bytes == 4 * 2 * pixels * values + 1000 + 808 * 24
    predicted = roofline.prediction_work(costs, 4, dtype, weights=808, batch_bytes=1000)
    assert predicted.operations == 2 * 4 * pixels * products
    values = 4 * 3 + 2 * 2 + 4 * 2 + 4 * 2
    assert predicted.bytes == 4 * 2 * pixels * values + 1000 + 808 * 4
    assert roofline.reading_work(1000) == (0, 2000)
