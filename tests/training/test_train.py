import os
import shutil

import numpy as np
import pytest
from helpers import SIDE, events_of, read_rows, tiny_config, train_tiny

from bodycomp_jax import load_model
from bodycomp_jax.data import phantom
from bodycomp_jax.errors import InputError


def test_metrics_count_every_validation_slice_once(data_dir, finished_run):
    """The row of the last epoch, computed again slice by slice."""
    rows = read_rows(finished_run.run_dir / 'metrics.csv')
    model = load_model(finished_run.run_dir / 'checkpoints' / rows[-1]['step'])
    images, masks = (np.load(data_dir / f'val_{kind}.npy')[..., 0] for kind in ('images', 'masks'))
    _, labels = model(images)
    for label, tissue in enumerate(finished_run.config.network.tissues, start=1):
        predicted, labelled = labels == label, masks == label
        dice = 2 * (predicted & labelled).sum() / (predicted.sum() + labelled.sum())
        assert float(rows[-1][f'dice_{tissue}']) == pytest.approx(dice, abs=1e-6)
        error = np.abs(predicted.sum((1, 2)) - labelled.sum((1, 2))).sum() / labelled.sum()
        assert float(rows[-1][f'area_error_percent_{tissue}']) == pytest.approx(
            100 * error, rel=1e-6
        )


def test_the_terminal_shows_data_network_metrics_and_model(finished_run):
    printed = finished_run.printed
    assert 'train  21 slices of 32 x 32, images int16, masks uint8: background' in printed
    assert '2 x cpu in float32, 808 parameters, 2 steps of 8 images per epoch' in printed
    assert printed.count('images/s') == 3
    assert 'Dice visceral fat' in printed
    assert f"load_model('{finished_run.run_dir}/final_model')" in printed
    assert 'run the same command with --name finished to continue' in printed


def test_every_epoch_has_metrics_and_figures(finished_run):
    rows = read_rows(finished_run.run_dir / 'metrics.csv')
    tissues = finished_run.config.network.tissues
    assert list(rows[0]) == [
        'epoch', 'step', 'train_loss', 'val_loss',
        *(f'dice_{tissue}' for tissue in tissues),
        *(f'slice_dice_{tissue}' for tissue in tissues),
        *(f'area_error_percent_{tissue}' for tissue in tissues),
        'skipped_steps', 'learning_rate', 'images_per_second', 'data_wait_share', 'seconds',
    ]  # fmt: skip
    assert [row['step'] for row in rows] == ['2', '4', '6']
    assert [float(row['learning_rate']) for row in rows] == [0.01, 0.001, 0.0001]
    values = [
        (event.step, value)
        for event in events_of(finished_run.run_dir / 'tensorboard_log')
        for value in event.summary.value
    ]
    for i in range(4):
        assert [step for step, v in values if v.tag == f'validation_{i}'] == [1, 2, 3]
    shown = [v.simple_value for _, v in values if v.tag == 'val_loss']
    np.testing.assert_allclose(shown, [float(row['val_loss']) for row in rows], rtol=1e-6)


def test_a_run_continues_on_its_own_data_only(run_copy, data_dir, tmp_path):
    other = tmp_path / 'other'
    shutil.copytree(data_dir, other)
    masks = np.load(other / 'train_masks.npy')
    masks[3, 0, 0] = 3  # not among the rows of the fingerprint
    np.save(other / 'train_masks.npy', masks)
    config = tiny_config()
    with pytest.raises(InputError, match='other train masks: checksum was'):
        train_tiny(other, run_copy, config)
    phantom.write_segmentation_set(other, train=22, val=5, side=SIDE)
    with pytest.raises(InputError, match='other train images: shape was'):
        train_tiny(other, run_copy, config)
    before = read_rows(run_copy / 'metrics.csv')
    shutil.rmtree(run_copy / 'checkpoints' / '6')
    train_tiny(other, run_copy, config, allow_data_change=True)
    *rows, last = read_rows(run_copy / 'metrics.csv')
    assert rows == before[:2]
    assert last['step'] == '6'
    assert last['train_loss'] != before[2]['train_loss']


def test_a_disk_that_cannot_hold_the_checkpoints_is_refused_at_the_start(
    data_dir, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage)
    with pytest.raises(InputError, match='MB are free; free some space'):
        train_tiny(data_dir, tmp_path / 'run', tiny_config())
    assert not os.listdir(tmp_path)
