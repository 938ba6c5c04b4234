"""What the tests share: one tiny network, short trainings of it, and readers of what they leave."""

import contextlib
import csv
import io
import os
import pathlib
import struct
import subprocess
import sys

import jax
import numpy as np
import pytest
import scipy.ndimage
from tensorboardX.proto.event_pb2 import Event

from bodycomp_jax.checkpoints.run import RunCheckpoints
from bodycomp_jax.config import RunConfig, SegmentationConfig, from_values
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.models.build import variable_shapes
from bodycomp_jax.training.run_spec import RunSpec
from bodycomp_jax.training.state import initial_state
from bodycomp_jax.training.tasks.segmentation import segmentation_task
from bodycomp_jax.training.train import train

ROOT = pathlib.Path(__file__).parents[1]
SHARED_DATA = pathlib.Path(os.environ.get('BODYCOMP_SHARED', ROOT.parent / 'shared')) / 'data'
SIDE = 32

needs_shared_data = pytest.mark.skipif(
    not SHARED_DATA.exists(), reason=f'needs the real CT of {SHARED_DATA}'
)


def tiny_config(**changes):
    """A segmentation config with these options; 808 parameters by default."""
    defaults = {
        'compression_channels': (4, 8),
        'decompression_channels': (4,),
        'batch_size': 8,
        'epochs': 3,
        'preset': 'reference',
        **SegmentationConfig.presets['reference'],
    }
    return from_values(SegmentationConfig, defaults | changes)


def train_tiny(data_dir, run_dir, config, *, num_devices=2, pretrained=None, **options):
    """Trains in this process; returns what it printed."""
    sets = open_sets(data_dir, config)
    devices = jax.local_devices()[:num_devices]
    steps = config.steps_per_epoch(len(sets[0]))
    task = segmentation_task(config, devices=devices, steps_per_epoch=steps)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        train(run_spec(task, config, sets, run_dir, devices, **options), pretrained)
    return output.getvalue()


def drawn_variables(config):
    """Random variables of a network, without compiling its initial ones: vectors are around 1."""
    random = np.random.default_rng(0)

    def draw(shape):
        inputs = np.prod(shape[:-1])  # of an output
        return random.normal(len(shape) == 1, min(0.2, inputs**-0.5), shape).astype('f4')

    return jax.tree.map(lambda leaf: draw(leaf.shape), variable_shapes(config))


def smooth_images(side):
    """Four random images without noise, `[4, side, side, 1]`, in 0..255."""
    coarse = np.random.default_rng(0).uniform(0, 255, (4, 4, 4))
    return scipy.ndimage.zoom(coarse, (1, side / 4, side / 4), order=1)[..., None].astype('f4')


def run_spec(task, config, sets, run_dir, devices, **settings):
    """The spec of a run on a training and a validation set, with these settings."""
    train_set, val_set = sets
    return RunSpec(
        task=task,
        config=config,
        settings=RunConfig(**settings),
        train_set=train_set,
        val_set=val_set,
        run_dir=str(run_dir),
        devices=devices,
    )


def command(*arguments, program='train_segmentation'):
    """The command line of a program."""
    return [sys.executable, str(ROOT / f'bin/{program}.py'), *map(str, arguments)]


def run_program(*arguments, **options):
    """Runs a program to its end; takes the arguments of `command`, and `env`."""
    environment = {'env': options.pop('env')} if 'env' in options else {}
    return subprocess.run(
        command(*arguments, **options), capture_output=True, text=True, check=False, **environment
    )


def final_state(run_dir, config):
    """The state in the latest checkpoint of a run, on the host."""
    task = segmentation_task(config, devices=jax.local_devices(), steps_per_epoch=1)
    with RunCheckpoints(run_dir, config, print) as checkpoints:
        return jax.device_get(checkpoints.restore(initial_state(task, (SIDE, SIDE)))[0])


def read_rows(path):
    """The rows of a CSV file, as dicts of strings."""
    with open(path) as file:
        return list(csv.DictReader(file))


def events_of(folder):
    """The events in a TensorBoard folder, file by file: length, checksum, event, checksum."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack('<Q', content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
