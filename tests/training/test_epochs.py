import contextlib
import os
import shutil

import jax
import numpy as np
import psutil
import pytest
from helpers import read_rows, run_spec, tiny_config, train_tiny

from bodycomp_jax.data.batches import training_batches
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.training import data_parallel, epochs
from bodycomp_jax.training.tasks.segmentation import segmentation_task
from bodycomp_jax.training.train import train
from bodycomp_jax.training.watchdog import Watchdog


class NanBatch:
    """A set in which one batch is NaN, or all are."""

    def __init__(self, dataset, rows=None):
        self._dataset, self._rows = dataset, rows

    def __getattr__(self, name):
        return getattr(self._dataset, name)

    def __len__(self):
        return len(self._dataset)

    def read(self, rows):
        batch = self._dataset.read(rows)
        is_nan = self._rows is None or np.array_equal(rows, self._rows)
        return {**batch, 'image': batch['image'] * np.float32(np.nan if is_nan else 1)}


@pytest.fixture
def skipping_run(data_dir, tmp_path, monkeypatch):
    """Two epochs of two steps, of which the first is skipped: (rows, losses on the bar, waits)."""
    losses, waits = [], []

    @contextlib.contextmanager
    def bar(self, title, steps, examples_per_step):
        yield lambda loss, skipped: losses.append(loss)

    class RecordingWatchdog(Watchdog):
        def waits_for(self, what):
            waits.append(what)

        def step_finished(self):
            waits.append('finished')

    monkeypatch.setattr(Terminal, 'bar', bar)
    monkeypatch.setattr(epochs, 'Watchdog', RecordingWatchdog)
    config = tiny_config(epochs=2, loss='dice_ce')
    train_set, val_set = open_sets(data_dir, config)
    first = training_batches(len(train_set), config.batch_size, 2, config.seed, 1)[0]
    train_on((NanBatch(train_set, first), val_set), config, tmp_path / 'run')
    return read_rows(tmp_path / 'run/metrics.csv'), losses, waits


def train_on(sets, config, run_dir):
    """Trains two steps an epoch on one device."""
    devices = jax.local_devices()[:1]
    task = segmentation_task(config, devices=devices, steps_per_epoch=2)
    train(run_spec(task, config, sets, run_dir, devices))


def test_skipped_steps_show_no_loss_and_do_not_advance_the_learning_rate(skipping_run):
    """The rate drops after two and after three updates, of which epoch 1 makes one."""
    rows, losses, waits = skipping_run
    assert [row['skipped_steps'] for row in rows] == ['1', '0']
    assert [float(row['learning_rate']) for row in rows] == [0.01, 0.001]
    assert np.isnan(losses[0])
    assert np.isfinite(losses[1:]).all()
    assert len(losses) == 4
    # Training steps, the validation step and what follows it in each epoch; the first 'finished'
    # starts the clock.
    after = ['the data files', 'the figures', 'the checkpoint']
    epoch = ['finished', 'finished', 'the validation', 'finished', *after]
    others = ('the training files', 'the devices')
    assert [wait for wait in waits if wait not in others] == ['finished', *epoch, *epoch]


def test_a_loss_that_stays_not_finite_ends_the_run(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(epochs, 'MAX_SKIPPED_IN_A_ROW', 2)
    config = tiny_config(epochs=2, loss='dice_ce')
    train_set, val_set = open_sets(data_dir, config)
    message = 'not finite in 3 steps in a row.*--learning_rate'
    with pytest.raises(RunError, match=message):
        train_on((NanBatch(train_set), val_set), config, tmp_path / 'run')


def test_a_step_that_does_not_fit_into_memory_is_refused_before_it_runs(
    data_dir, tmp_path, monkeypatch
):
    """The program is real; the host pretends to have a few bytes."""
    memory = psutil.virtual_memory()._replace(total=100)
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: memory)
    with pytest.raises(RunError, match=r'needs 0\.0 GB .* lower --batch_size \(now 8\)'):
        train_tiny(data_dir, tmp_path / 'run', tiny_config())
    monkeypatch.undo()
    assert not (tmp_path / 'run' / 'metrics.csv').exists()
    train_tiny(data_dir, tmp_path / 'run', tiny_config())


def test_data_that_change_during_an_epoch_end_the_run_before_its_checkpoint(
    data_dir, tmp_path, monkeypatch
):
    own = shutil.copytree(data_dir, tmp_path / 'data')
    masks = np.load(own / 'train_masks.npy')
    validate = epochs.Trainer._validate

    def change_in_the_second_epoch(trainer, state):
        os.utime(own / 'val_masks.npy')
        if int(data_parallel.on_one_device(state).step) > 2:
            np.save(own / 'train_masks.npy', masks[::-1])
        return validate(trainer, state)

    monkeypatch.setattr(epochs.Trainer, '_validate', change_in_the_second_epoch)
    with pytest.raises(RunError, match=r'train_masks\.npy: other content than at the start'):
        train_tiny(own, tmp_path / 'run', tiny_config())
    monkeypatch.undo()
    assert os.listdir(tmp_path / 'run/checkpoints') == ['2']
    with pytest.raises(InputError, match='other train masks: fingerprint was'):
        train_tiny(own, tmp_path / 'run', tiny_config())
    printed = train_tiny(own, tmp_path / 'run', tiny_config(), allow_data_change=True)
    assert 'continues after epoch 1' in printed
    assert 'WARNING: ' in printed  # the masks are of other images
    assert len(read_rows(tmp_path / 'run/metrics.csv')) == 3
