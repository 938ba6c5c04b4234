"""The slice-selection trainer: its task, and real processes on phantoms."""

import dataclasses
import functools
import re
import runpy
import signal
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from helpers import ROOT, SHARED_DATA, events_of, read_rows

from bodycomp_jax import vertebrae
from bodycomp_jax.checkpoints.run import Checkpoints, load_model
from bodycomp_jax.config import RunConfig, SliceSelectionConfig
from bodycomp_jax.data.phantom import trunk
from bodycomp_jax.data.slice_selection import open_sets
from bodycomp_jax.errors import InputError
from bodycomp_jax.metrics import figures, tissues
from bodycomp_jax.training import data_parallel
from bodycomp_jax.training import train as loop
from bodycomp_jax.training.state import initial_state
from bodycomp_jax.training.stop_signals import vote
from bodycomp_jax.training.tasks import losses, slice_selection

NETWORK = {
    'nb_layers_per_block': 1, 'nb_blocks': 2, 'nb_initial_filters': 2, 'growth_rate': 2,
}  # fmt: skip
CONFIG = SliceSelectionConfig(levels=('L3', 'L1'), batch_size=8, epochs=3, **NETWORK)
FLAGS = [
    '-L', 'L3', '-L', 'L1', '-b', '8', '-e', '3', '-l', '0.01', '--name', 'run',
    *(part for name, value in NETWORK.items() for part in (f'--{name}', value)),
]  # fmt: skip


@pytest.fixture(scope='module')
def series_dir(tmp_path_factory):
    """Two training bodies and one to validate on, of some thirty slices each."""
    folder = tmp_path_factory.mktemp('series')
    trunk.write_dataset(folder, train=2, val=1, side=64, spacing=12.0, levels=('L3', 'L1'))
    return folder


@pytest.fixture(scope='module')
def sets(series_dir):
    return open_sets(series_dir, CONFIG, series_dir, lambda items, count, title: items)


def command(*arguments):
    return [sys.executable, str(ROOT / 'bin/train_slice_selection.py'), *map(str, arguments)]


def train(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


@pytest.fixture(scope='module')
def finished(series_dir, tmp_path_factory):
    """The folder of a run that nothing happened to, and what it printed."""
    output_dir = tmp_path_factory.mktemp('finished')
    done = train(series_dir, output_dir, *FLAGS)
    assert done.returncode == 0, done.stderr
    return output_dir / 'run', done.stdout


def test_the_loss_is_the_mean_absolute_error_of_sigmoids():
    logits = np.array([[0.0, 1.0], [-2.0, 3.0], [9.0, 9.0]], np.float32)
    batch = {
        'offset': np.array([[5.0, 10.0], [-20.0, 0.0], [0.0, 0.0]], np.float32),
        'weight': np.array([1, 1, 0], np.float32),
    }
    errors = [
        vertebrae.sigmoid(0.5) - 0.5, 0.0, 0.0, vertebrae.sigmoid(3) - 0.5,
    ]  # fmt: skip
    sums = losses.offset_sums(logits, batch, threshold=10.0)
    assert losses.mean_absolute_error(sums) == pytest.approx(np.mean(errors))


def test_batches_of_a_series_in_any_order_make_one_curve():
    rng = np.random.default_rng(0)
    n, threshold = 50, 10.0
    true = np.stack([np.linspace(-150, 140, n), np.linspace(-220, 60, n)], axis=1)
    predicted = true + np.array([4.0, 0.0])
    order = np.append(rng.permutation(n), [0] * 6)  # the last batch is padded
    weights = (np.arange(len(order)) < n).astype(np.float32)
    sums = {'offset': np.zeros((n, 2))}
    for rows in np.arange(len(order)).reshape(-1, 8):
        batch = {'index': order[rows], 'weight': weights[rows]}
        logits = np.float32(predicted[order[rows]] / threshold)
        sums['offset'] += tissues.offset_sums(logits, batch, n, threshold)['offset']
    np.testing.assert_allclose(sums['offset'], predicted, rtol=1e-5, atol=1e-4)
    series = {'one': np.arange(n), 'below both': np.arange(5)}
    found = tissues.offset_metrics(sums, true, series, ('L3', 'L1'), threshold)
    assert found['offset_error_mm_L3'] == pytest.approx(4, abs=1e-3)
    assert found['level_error_mm_L3'] == pytest.approx(4, abs=0.5)
    assert found['level_error_median_mm_L1'] == pytest.approx(0, abs=0.5)
    assert found['level_within_10mm_L3'] == 1
    away = tissues.offset_metrics(sums, true + 500, series, ('L3', 'L1'), threshold)
    assert np.isnan(list(away.values())).all()


def steps(sets, num_devices):
    """(state, sums of a validation batch) after two steps of SGD on so many devices."""
    devices = jax.local_devices()[:num_devices]
    task = slice_selection.task(CONFIG, devices=devices, steps_per_epoch=5, val_set=sets[1])
    task = dataclasses.replace(task, optimizer=optax.sgd(0.1))
    state = data_parallel.replicate(initial_state(task, sets[0].image_shape), devices)
    votes = data_parallel.on_each_device(vote(None), devices)
    batch = data_parallel.split(sets[0].read(np.arange(8)), devices)
    step = data_parallel.parallel(functools.partial(loop.train_step, task), devices)
    for _ in range(2):
        (state, _), _ = step(state, batch, votes)
    batch = data_parallel.split(sets[1].read(np.arange(8), np.float32([1] * 7 + [0])), devices)
    evaluate = data_parallel.parallel(functools.partial(loop.eval_step, task), devices)
    return jax.device_get((state, evaluate(state, batch, votes)[0]))


def test_eight_devices_give_what_one_gives(sets):
    one, eight = steps(sets, 1), steps(sets, 8)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), one, eight)
    assert np.count_nonzero(one[1]['metrics']['offset'].any(1)) == 7


def test_without_batch_norms_it_trains_as_well(sets, tmp_path):
    config = dataclasses.replace(CONFIG, omit_norm=True, activation='elu', epochs=1)
    devices = jax.local_devices()[:1]
    task = slice_selection.task(config, devices=devices, steps_per_epoch=5, val_set=sets[1])
    loop.train(task, config, *sets, tmp_path / 'run', devices, RunConfig())
    assert load_model(tmp_path / 'run').config == config


def test_a_run_leaves_what_the_segmentation_trainer_leaves(finished, sets):
    run_dir, printed = finished
    assert printed.count('L3 found, mm') == 4  # three epochs and the table
    names = {path.name for path in run_dir.iterdir()}
    assert {'args.json', 'checkpoints', 'final_model', 'metrics.csv', 'tensorboard_log'} <= names
    rows = read_rows(run_dir / 'metrics.csv')
    assert len(rows) == 3
    assert float(rows[-1]['train_loss']) < float(rows[0]['train_loss'])
    pictures = [
        value.tag
        for event in events_of(run_dir / 'tensorboard_log')
        for value in event.summary.value
        if value.HasField('image')
    ]
    assert pictures == ['validation_0'] * 3


def test_the_model_sees_hu_as_the_trainer_saw_pictures(finished):
    model = load_model(finished[0])
    body = trunk.draw(2, 64, 12.0)
    offsets = model(body.hu)
    assert offsets.shape == (len(body.z), 2)
    rows = read_rows(finished[0] / 'metrics.csv')
    best = min(rows, key=lambda row: float(row['val_loss']))
    found = model.find(body.hu, body.z)
    assert abs(found['L3'] - body.levels['L3']) == pytest.approx(
        float(best['level_error_mm_L3']), abs=0.2
    )
    with pytest.raises(InputError, match='a finite position in mm for each'):
        model.find(body.hu, body.z[1:])


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_interrupted_and_continued_it_ends_in_the_same_bits(
    series_dir, sets, tmp_path, finished, number, code
):
    process = subprocess.Popen(
        command(series_dir, tmp_path, *FLAGS), stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith('epoch 1'):
            process.send_signal(number)
            break
    process.communicate()
    assert process.returncode == code
    done = train(series_dir, tmp_path, *FLAGS)
    assert done.returncode == 0, done.stderr
    one, other = (read_state(folder, sets[1]) for folder in (finished[0], tmp_path / 'run'))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def read_state(run_dir, val_set):
    config = dataclasses.replace(CONFIG, learning_rate=0.01)
    devices = jax.local_devices()
    task = slice_selection.task(config, devices=devices, steps_per_epoch=5, val_set=val_set)
    with Checkpoints(run_dir, config, print) as checkpoints:
        return jax.device_get(checkpoints.restore(initial_state(task, (256, 256)))[0])


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['-L', 'L3,L3'], '--levels: .L3. is not possible; it is there twice'),
        (['-L', 'T4'], r'train\.csv: there is no column ZOffset_T4 or ZOffset, but'),
        (['-t', '0'], '--threshold: 0'),
        (['--compression_rate', '1.5'], '--compression_rate: 1.5'),
        (['-b', '128'], 'fewer than one batch of 128'),
        (['-w', 'SEGMENTATION'], 'this is a segmentation network, not a slice_selection'),
    ],
)
def test_wrong_use_is_one_paragraph_code_two_and_nothing_on_disk(
    series_dir, finished_run, tmp_path, monkeypatch, capsys, flags, message
):
    flags = [str(finished_run.run_dir) if f == 'SEGMENTATION' else f for f in flags]
    main = runpy.run_path(str(ROOT / 'bin/train_slice_selection.py'))['main']
    monkeypatch.setattr(sys, 'argv', ['train', str(series_dir), str(tmp_path / 'out'), *flags])
    with pytest.raises(SystemExit) as stop:
        flags.run(main)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert len(error.strip().splitlines()) == 1
    assert re.search(message, error)
    assert not (tmp_path / 'out').exists()


@pytest.mark.skipif(not SHARED_DATA.exists(), reason='no real CT beside the project')
def test_real_slices_are_read():
    config = SliceSelectionConfig(levels=('L3', 'L1'))
    folder = SHARED_DATA / 'spine_png'
    train_set, val_set = open_sets(folder, config, '/tmp', lambda items, count, title: items)
    assert (len(train_set), len(val_set)) == (84, 28)
    assert (train_set.offsets[:, 0] - train_set.offsets[:, 1]).round().tolist() == [68] * 84
