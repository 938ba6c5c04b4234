"""The slice-selection trainer: its task, and real processes on phantoms."""

import contextlib
import dataclasses
import functools
import io
import re
import signal
import subprocess

import jax
import numpy as np
import optax
import pytest
from helpers import (
    SHARED_DATA,
    command,
    events_of,
    needs_shared_data,
    read_rows,
    run_program,
    run_spec,
)

from bodycomp_jax import load_model
from bodycomp_jax.checkpoints.run import RunCheckpoints
from bodycomp_jax.config import (
    DenseNetConfig,
    SliceSelectionConfig,
    from_values,
    to_values,
)
from bodycomp_jax.data import phantom
from bodycomp_jax.data.slice_selection import open_sets
from bodycomp_jax.errors import InputError
from bodycomp_jax.programs import train_slice_selection
from bodycomp_jax.runtime import program
from bodycomp_jax.training import data_parallel
from bodycomp_jax.training.state import initial_state
from bodycomp_jax.training.step import eval_step, train_step
from bodycomp_jax.training.stop_signals import stop_flags
from bodycomp_jax.training.tasks.slice_selection import slice_selection_task
from bodycomp_jax.training.train import train

NETWORK = {
    'nb_layers_per_block': 1, 'nb_blocks': 2, 'nb_initial_filters': 2, 'growth_rate': 2,
}  # fmt: skip
CONFIG = SliceSelectionConfig(
    network=DenseNetConfig(levels=('L3', 'L1'), **NETWORK),
    batch_size=8,
    epochs=3,
    learning_rate=0.01,
)
FLAGS = [
    '-L', 'L3', '-L', 'L1', '-b', '8', '-e', '3', '-l', '0.01', '--name', 'run',
    *(part for name, value in NETWORK.items() for part in (f'--{name}', value)),
]  # fmt: skip

trainer = functools.partial(command, program='train_slice_selection')


@pytest.fixture(scope='module')
def series_dir(tmp_path_factory):
    """Two training subjects and one to validate on, of some thirty slices each."""
    folder = tmp_path_factory.mktemp('series')
    phantom.write_slice_selection_set(
        folder, train=2, val=1, side=64, spacing=12.0, levels=('L3', 'L1')
    )
    return folder


@pytest.fixture(scope='module')
def sets(series_dir):
    train_set, val_set = open_sets(
        series_dir, CONFIG, series_dir, lambda items, count, title: items
    )
    train_set.validate()
    val_set.validate()
    return train_set, val_set


@pytest.fixture(scope='module')
def finished(series_dir, tmp_path_factory):
    """The folder of an undisturbed run, and what it printed."""
    output_dir = tmp_path_factory.mktemp('finished')
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        train_slice_selection.main(
            ['train', str(series_dir), str(output_dir), '-g', '1', *map(str, FLAGS)]
        )
    return output_dir / 'run', printed.getvalue()


def task_of(sets, config=CONFIG):
    devices = jax.local_devices()[:1]
    return slice_selection_task(config, devices=devices, steps_per_epoch=5, val_set=sets[1])


def steps(sets, num_devices):
    """(state, numbers of each example) after two steps of SGD on so many devices."""
    devices = jax.local_devices()[:num_devices]
    task = dataclasses.replace(task_of(sets), optimizer=optax.sgd(0.1))
    state = data_parallel.replicate(initial_state(task, sets[0].image_shape), devices)
    flags = data_parallel.on_each_device(stop_flags(None), devices)
    batch = data_parallel.shard_batch(sets[0].read(np.arange(8)), devices)
    step = data_parallel.pmap_step(functools.partial(train_step, task), devices)
    for _ in range(2):
        state, _ = step(state, (batch, flags))
    evaluate = data_parallel.pmap_step(functools.partial(eval_step, task), devices)
    return jax.device_get((state, evaluate(state, batch)))


def test_eight_devices_give_what_one_gives(sets):
    one, eight = steps(sets, 1), steps(sets, 8)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), one, eight)
    offsets = one[1]['metrics']['offset']
    assert offsets.shape == (8, 2)
    assert len(np.unique(offsets[:, 0])) == 8


def test_without_batch_norms_it_trains_as_well(sets, tmp_path):
    options = {**to_values(CONFIG), 'omit_norm': True, 'activation': 'elu', 'epochs': 1}
    config = from_values(SliceSelectionConfig, options)
    devices = jax.local_devices()[:1]
    train(run_spec(task_of(sets, config), config, sets, tmp_path / 'run', devices))
    assert load_model(tmp_path / 'run').config == config.network


def test_a_run_leaves_the_same_files_as_a_segmentation_run(finished):
    run_dir, printed = finished
    assert printed.count('L3 position error') == 4  # three epochs and the table
    names = {path.name for path in run_dir.iterdir()}
    assert {'args.json', 'checkpoints', 'final_model', 'metrics.csv', 'tensorboard_log'} <= names
    rows = read_rows(run_dir / 'metrics.csv')
    assert len(rows) == 3
    assert float(rows[-1]['train_loss']) < float(rows[0]['train_loss'])
    figures = [
        value.tag
        for event in events_of(run_dir / 'tensorboard_log')
        for value in event.summary.value
        if value.HasField('image')
    ]
    assert figures == ['validation_0'] * 3


def test_the_model_sees_hu_as_the_trainer_saw_png(finished):
    model = load_model(finished[0])
    subject = phantom.draw(2, 64, 12.0)
    offsets = model(subject.hu)
    assert offsets.shape == (len(subject.z), 2)
    rows = read_rows(finished[0] / 'metrics.csv')
    best = min(rows, key=lambda row: float(row['val_loss']))
    found = model.find(subject.hu, subject.z)
    assert abs(found['L3'].z - subject.levels['L3']) == pytest.approx(
        float(best['level_error_mm_L3']), abs=0.2
    )
    with pytest.raises(InputError, match='expected a finite position in mm for each'):
        model.find(subject.hu, subject.z[1:])


@pytest.mark.processes
def test_interrupted_and_continued_it_ends_in_the_same_bits(series_dir, sets, tmp_path, finished):
    for start_of_line, number, code in (
        ('epoch 1', signal.SIGTERM, 143),
        ('compiled', signal.SIGKILL, -9),
    ):
        process = subprocess.Popen(
            trainer(series_dir, tmp_path, *FLAGS), stdout=subprocess.PIPE, text=True
        )
        for line in process.stdout:
            if line.startswith(start_of_line):
                process.send_signal(number)
                break
        process.communicate()
        assert process.returncode == code
    done = run_program(series_dir, tmp_path, *FLAGS, program='train_slice_selection')
    assert done.returncode == 0, done.stderr
    one, other = (final_state(folder, sets) for folder in (finished[0], tmp_path / 'run'))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def final_state(run_dir, sets):
    with RunCheckpoints(run_dir, CONFIG, print) as checkpoints:
        state = initial_state(task_of(sets), sets[0].image_shape)
        return jax.device_get(checkpoints.restore(state)[0])


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['-L', 'L3,L3'], 'invalid --levels=L3: name each level once'),
        (['-L', 'T4'], r'train\.csv: no column ZOffset_T4 or ZOffset'),
        (['-t', '0'], 'invalid --threshold=0'),
        (['--compression_rate', '1.5'], 'invalid --compression_rate=1.5'),
        (['-b', '128'], 'fewer than the 128 of one batch'),
        (['-w', 'SEGMENTATION'], 'a segmentation network; give the path of a slice'),
    ],
)
def test_wrong_input_prints_one_line_ends_with_code_two_and_writes_nothing(
    series_dir, finished_run, tmp_path, monkeypatch, capsys, flags, message
):
    flags = [str(finished_run.run_dir) if f == 'SEGMENTATION' else f for f in flags]
    monkeypatch.setattr('sys.argv', ['train', str(series_dir), str(tmp_path / 'out'), *flags])
    assert program.exit_code(train_slice_selection.main) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert re.search(message, error)
    assert not (tmp_path / 'out').exists()


@needs_shared_data
def test_real_slices_are_read():
    folder = SHARED_DATA / 'spine_png'
    train_set, val_set = open_sets(folder, CONFIG, '/tmp', lambda items, count, title: items)
    assert (len(train_set), len(val_set)) == (84, 28)
    assert (train_set.offsets[:, 0] - train_set.offsets[:, 1]).round().tolist() == [68] * 84
