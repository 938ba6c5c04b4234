"""A case and a compiled step that the tests of the benchmark share."""

import jax
import pytest
from helpers import SIDE, tiny_config

from bodycomp_jax.benchmark import cases, roofline
from bodycomp_jax.benchmark.options import BenchmarkConfig

CONFIG = tiny_config()


@pytest.fixture(scope='session')
def case():
    """Eight slices, the tiny network, four devices."""
    bench = BenchmarkConfig(image_size=SIDE, steps=2, slices=CONFIG.batch_size)
    with cases.prepared(bench, CONFIG, jax.local_devices()[:4]) as case:
        yield case


@pytest.fixture(scope='session')
def training(case):
    return cases.Training(case)


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
