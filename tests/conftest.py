"""What the tests share: eight virtual devices, one tiny network and one short run of it."""

import os

os.environ['NPROC'] = '16'  # more virtual devices than cores: without it XLA's threads starve

import contextlib
import csv
import io
import pathlib
import sys
import tempfile
import types

import jax
import pytest

from bodycomp_jax.checkpoint import Checkpoints
from bodycomp_jax.config import RunConfig, SegmentationConfig
from bodycomp_jax.data import phantom
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.training import loop, segmentation
from bodycomp_jax.training.state import initial_state

# Compilation is what costs: each program is compiled once for all processes that the tests start.
COMPILED = tempfile.TemporaryDirectory(prefix='bodycomp_compiled_')
for name, value in (
    ('jax_compilation_cache_dir', COMPILED.name),
    ('jax_persistent_cache_min_compile_time_secs', 0.2),
):
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)
jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')

ROOT = pathlib.Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / 'shared' / 'data'
SIDE = 32


def tiny_config(**changes):
    defaults = {
        'compression_channels': (4, 8),
        'decompression_channels': (4,),
        'batch_size': 8,
        'epochs': 3,
        'learning_rate': 0.01,
    }
    return SegmentationConfig(**(defaults | changes))


def train_tiny(data_dir, run_dir, config, *, num_devices=2, **options):
    """Trains in this process; returns what it printed."""
    train_set, val_set = open_sets(data_dir, config)
    devices = jax.local_devices()[:num_devices]
    steps = config.steps_per_epoch(len(train_set))
    task = segmentation.task(config, devices=devices, steps_per_epoch=steps)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        run = RunConfig(**options)
        loop.train(task, config, train_set, val_set, run_dir, devices, run)
    return output.getvalue()


def command(*arguments):
    """The command line of the segmentation trainer."""
    return [sys.executable, str(ROOT / 'bin/train_segmentation.py'), *map(str, arguments)]


def final_state(run_dir, config):
    """The state in the latest checkpoint of a run, on the host."""
    task = segmentation.task(config, devices=jax.local_devices(), steps_per_epoch=1)
    with Checkpoints(run_dir, config, print) as checkpoints:
        return jax.device_get(checkpoints.restore(initial_state(task, (SIDE, SIDE)))[0])


def read_rows(path):
    """The rows of a CSV file, as dicts of strings."""
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='session')
def data_dir(tmp_path_factory):
    """Twenty-one training and five validation phantoms."""
    folder = tmp_path_factory.mktemp('data')
    phantom.write_dataset(folder, train=21, val=5, side=SIDE)
    return folder


@pytest.fixture(scope='session')
def finished_run(data_dir, tmp_path_factory):
    """A run of three epochs: its folder, config, and what it printed."""
    run_dir = tmp_path_factory.mktemp('runs') / 'finished'
    config = tiny_config()
    printed = train_tiny(data_dir, run_dir, config)
    return types.SimpleNamespace(run_dir=run_dir, config=config, printed=printed)
