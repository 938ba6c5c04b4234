"""A case and a compiled step that the tests of the benchmark share."""

import os
from unittest import mock

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


@pytest.fixture
def settings_of_jax():
    """Restores what `absent_devices` sets in this process."""
    names = ('jax_platforms', 'jax_enable_compilation_cache')
    before = {name: getattr(jax.config, name) for name in names}
    with mock.patch.dict(os.environ):
        yield
    for name, value in before.items():
        jax.config.update(name, value)
