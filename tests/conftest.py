"""Eight virtual devices, compiled programs that all processes share, and one short run."""

import os
import tempfile

os.environ['NPROC'] = '16'  # more virtual devices than cores: without it XLA's threads starve
# Compilation dominates the time of the tests: each program is compiled once, for all processes,
# and LLVM does not spend as long on it as it would for a program that runs for hours.
if 'PYTEST_XDIST_WORKER' not in os.environ:  # workers inherit the folder
    COMPILED = tempfile.TemporaryDirectory(prefix='bodycomp_compiled_')
    os.environ['JAX_COMPILATION_CACHE_DIR'] = COMPILED.name
    os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
    flags = os.environ.get('XLA_FLAGS', '')
    os.environ['XLA_FLAGS'] = f'--xla_backend_optimization_level=1 {flags}'

import shutil
import signal
import types

import jax
import pytest
from helpers import SIDE, tiny_config, train_tiny

from bodycomp_jax.data import phantom

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else its children ignore it, too

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')


def pytest_collection_modifyitems(items):
    """Files that start processes come first: they take longest, and no worker waits for another."""
    long = {item.path for item in items if item.get_closest_marker('processes')}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope='session')
def data_dir(tmp_path_factory):
    """A segmentation set of 21 training and 5 validation phantoms."""
    folder = tmp_path_factory.mktemp('data')
    phantom.write_segmentation_set(folder, train=21, val=5, side=SIDE)
    return folder


@pytest.fixture(scope='session')
def finished_run(data_dir, tmp_path_factory):
    """A run of three epochs: its folder, config, and what it printed."""
    run_dir = tmp_path_factory.mktemp('runs') / 'finished'
    config = tiny_config()
    printed = train_tiny(data_dir, run_dir, config)
    return types.SimpleNamespace(run_dir=run_dir, config=config, printed=printed)


@pytest.fixture
def run_copy(finished_run, tmp_path):
    """A copy of the folder of `finished_run`, with checkpoints of steps 4 and 6 of 6."""
    return shutil.copytree(finished_run.run_dir, tmp_path / 'copy')
