"""The programs as a user starts them: real processes, real files."""

import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT, SHARED_DATA, read_rows, tiny_config

from bodycomp_jax.checkpoint import Checkpoints, load_model
from bodycomp_jax.training import segmentation
from bodycomp_jax.training.state import initial_state

TIMING = ('images_per_second', 'data_wait_share', 'seconds')
TINY = ['-C', '4,8', '-M', '4', '-b', '4', '-l', '0.01', '--name', 'run']


def command(*arguments):
    return [sys.executable, str(ROOT / 'bin/train_segmentation.py'), *map(str, arguments)]


def train(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


def without_timing(rows):
    return [{k: v for k, v in row.items() if k not in TIMING} for row in rows]


def final_state(run_dir):
    config = tiny_config(batch_size=4, epochs=6)
    task = segmentation.task(config, devices=jax.local_devices(), steps_per_epoch=5)
    with Checkpoints(run_dir, config, print) as checkpoints:
        return jax.device_get(checkpoints.restore(initial_state(task, (32, 32)))[0])


def test_six_epochs_straight_and_three_killed_and_continued_end_in_the_same_bits(
    data_dir, tmp_path
):
    straight, broken = tmp_path / 'straight', tmp_path / 'broken'
    done = train(data_dir, straight, *TINY, '-e', 6)
    assert done.returncode == 0, done.stderr

    process = subprocess.Popen(command(data_dir, broken, *TINY, '-e', 6), stdout=subprocess.PIPE)
    for line in process.stdout:
        if line.startswith(b'epoch 4/6'):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    continued = train(data_dir, broken, *TINY, '-e', 6)
    assert continued.returncode == 0, continued.stderr
    assert 'continues after epoch' in continued.stdout

    runs = straight / 'run', broken / 'run'
    assert len(read_rows(runs[0] / 'metrics.csv')) == 6
    assert without_timing(read_rows(runs[0] / 'metrics.csv')) == without_timing(
        read_rows(runs[1] / 'metrics.csv')
    )
    jax.tree.map(np.testing.assert_array_equal, *map(final_state, runs))


def test_the_command_of_a_finished_run_says_so_again_and_trains_on_with_more_epochs(
    data_dir, tmp_path
):
    for epochs, trained in ((1, 1), (1, 0), (2, 1)):
        done = train('--data_dir', data_dir, '--model_output_dir', tmp_path, *TINY, '-e', epochs)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count('images/s') == trained
        assert f'best epoch, {epochs}' in done.stdout
        assert 'load_model' in done.stdout
    assert len(read_rows(tmp_path / 'run/metrics.csv')) == 2


def test_wrong_input_ends_with_code_two_one_paragraph_and_nothing_on_disk(data_dir, tmp_path):
    masks = np.load(data_dir / 'val_masks.npy')
    masks[3, 0, 0] = 200
    for path in data_dir.iterdir():
        os.symlink(path, tmp_path / path.name)
    (tmp_path / 'val_masks.npy').unlink()
    np.save(tmp_path / 'val_masks.npy', masks)
    done = train(tmp_path, tmp_path / 'out', *TINY)
    assert done.returncode == 2
    assert 'val_masks.npy: slice 3 has the labels 200' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / 'out').exists()


@pytest.mark.skipif(not SHARED_DATA.exists(), reason='no real CT beside the project')
def test_a_small_network_begins_to_see_tissue_on_real_ct(tmp_path):
    for split in ('train', 'val'):
        for kind in ('images', 'masks'):
            array = np.load(SHARED_DATA / 'abdomen_npy' / f'{split}_{kind}.npy')
            np.save(tmp_path / f'{split}_{kind}.npy', array[:, 2::8, 2::8])
    flags = ['-C', '8,16,32', '-M', '16,8', '-b', '6', '-e', '60', '-l', '0.01', '--name', 'real']
    done = train(tmp_path, tmp_path / 'out', *flags)
    assert done.returncode == 0, done.stderr
    best = max(
        read_rows(tmp_path / 'out/real/metrics.csv'), key=lambda row: -float(row['val_loss'])
    )
    assert float(best['dice_muscle']) > 0.8
    assert float(best['dice_subcutaneous_fat']) > 0.8
    assert float(best['dice_visceral_fat']) > 0.6
    _, labels = load_model(tmp_path / 'out' / 'real')(np.load(tmp_path / 'val_images.npy')[..., 0])
    assert set(np.unique(labels)) == {0, 1, 2, 3}
