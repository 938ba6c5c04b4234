"""The programs as a user starts them: real processes, real files."""

import re
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT, SHARED_DATA, command, read_rows

from bodycomp_jax.checkpoints.run import load_model

TINY = ['-C', '4,8', '-M', '4', '-b', '4', '-l', '0.01', '--name', 'run']


def train(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


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


@pytest.fixture(scope='module')
def main():
    """The segmentation trainer, in this process."""
    return runpy.run_path(str(ROOT / 'bin/train_segmentation.py'))['main']


def changed(name, change):
    """A change of a data folder: one array replaced."""

    def apply(data_dir):
        path = data_dir / f'{name}.npy'
        np.save(path, change(np.load(path)))

    return apply


def with_pixel(value):
    def change(array):
        array = array.astype(np.float64 if isinstance(value, float) else np.int64)
        array[3, 0, 0] = value
        return array

    return change


def unlink(name):
    return lambda data_dir: (data_dir / name).unlink()


def write(name, content):
    return lambda data_dir: (data_dir / name).write_bytes(content)


WRONG = {
    'missing file': (unlink('val_masks.npy'), [], r'val_masks\.npy: cannot be opened'),
    'no array': (write('val_masks.npy', b'\x93NUMPY'), [], r'val_masks\.npy: not a readable'),
    'dimensions': (changed('train_images', lambda a: a[..., 0, 0]), [], 'expected .slices, side'),
    'other masks': (changed('train_masks', lambda a: a[:-1]), [], 'one label for each pixel'),
    'unsigned': (changed('train_images', lambda a: a.astype('u2')), [], 'save them as int16'),
    '8 bits': (changed('val_images', lambda a: a.astype('i1')), [], 'save them as int16'),
    'float masks': (changed('val_masks', lambda a: a.astype('f4')), [], 'save them as uint8'),
    'durations': (changed('val_images', lambda a: a.astype('m8[s]')), [], 'not an array of numb'),
    'labels': (changed('val_masks', with_pixel(200)), [], 'slice 3 has the labels 200, and 1 of 5'),
    'labels below': (changed('val_masks', with_pixel(-1)), [], 'slice 3 has the labels -1'),
    'nan': (changed('train_images', with_pixel(np.nan)), [], 'slice 3 has 1 NaN and 0 infinite'),
    'too large': (changed('train_images', with_pixel(1e300)), [], '0 NaN and 1 infinite'),
    'empty': (changed('train_images', lambda a: a[:0]), [], 'has no slices'),
    'few slices': (None, ['-b', '24'], 'fewer than one batch of 24; use -b 21'),
    'batch over devices': (None, ['-b', '12', '-g', '8'], 'use a multiple of 8'),
    'too many devices': (None, ['-g', '9'], 'this machine has 8'),
    'no halving': (None, ['-C', '2,2,2,2,2,2,2', '-M', '2,2,2,2,2,2'], 'multiple of 64'),
    'not square': (changed('val_images', lambda a: a[:, 1:]), [], 'are not square; pad or crop'),
    'other split': (changed('val_images', lambda a: a[:, ::2, ::2]), [], 'one label for each'),
    'channels': (None, ['-C', '4,8'], 'exactly one level fewer'),
    'name': (None, ['--name', '../x'], 'not a plain folder name'),
    'no weights': (None, ['-w', '/nowhere'], '/nowhere: there is no model'),
    'thoracic': (None, ['-t'], 'visceral fat .3. needs --nothoracic_model'),
}


@pytest.mark.parametrize('wrong', WRONG)
def test_wrong_input_is_one_paragraph_code_two_and_nothing_on_disk(
    main, data_dir, tmp_path, monkeypatch, capsys, wrong
):
    damage, flags, message = WRONG[wrong]
    own, out = tmp_path / 'data', tmp_path / 'out'
    shutil.copytree(data_dir, own)
    if damage is not None:
        damage(own)
    arguments = ['train', own, out, '-C', '4,8', '-M', '4', '-b', '8', *flags]
    if '-b' in flags:
        arguments[7:9] = []
    if '-C' in flags:
        arguments[3:7] = []
    monkeypatch.setattr(sys, 'argv', list(map(str, arguments)))
    with pytest.raises(SystemExit) as stop:
        flags.run(main)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert re.search(message, error)
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()


def test_broken_weights_are_named_not_raised(main, finished_run, data_dir, tmp_path):
    weights = tmp_path / 'weights'
    shutil.copytree(finished_run.run_dir / 'final_model', weights)
    (weights / 'config' / 'metadata').write_text('{}')
    done = train(data_dir, tmp_path / 'out', *TINY, '-w', weights)
    assert done.returncode == 2
    assert 'no sound model' in done.stderr
    assert not (tmp_path / 'out').exists()


def test_training_starts_from_given_weights(finished_run, data_dir, tmp_path):
    done = train(data_dir, tmp_path, *TINY, '-e', 1, '-l', '1e-30', '-w', finished_run.run_dir)
    assert done.returncode == 2  # the flag -l is given twice
    flags = [flag for flag in TINY if flag not in ('-l', '0.01')]
    done = train(data_dir, tmp_path, *flags, '-e', 1, '-l', '1e-30', '-w', finished_run.run_dir)
    assert done.returncode == 0, done.stderr
    begun, given = (
        load_model(tmp_path / 'run').variables,
        load_model(finished_run.run_dir).variables,
    )
    kernel = given['params']['final_conv']['kernel']
    np.testing.assert_array_equal(begun['params']['final_conv']['kernel'], kernel)


def test_train_and_validation_images_may_be_of_different_types(data_dir, tmp_path):
    own = tmp_path / 'data'
    shutil.copytree(data_dir, own)
    changed('val_images', lambda a: a.astype(np.float32))(own)
    done = train(own, tmp_path, *TINY, '-e', 1)
    assert done.returncode == 0, done.stderr


def test_the_demo_shows_what_the_readme_says(capfd):
    """With a shorter second training: that it learns is tested elsewhere."""
    main = runpy.run_path(str(ROOT / 'bin/demo.py'))['main']
    main.__globals__.update(TRAIN_BODIES=2, VAL_BODIES=1)
    main.__globals__['SLICE_SELECTION'] += ' --nb_blocks 1 --batches_per_epoch 1'
    main([str(ROOT / 'bin/demo.py')])
    printed = capfd.readouterr().out
    dice = [float(x) for x in re.search('best epoch.*', printed).group().split()[4:]]
    assert len(dice) == 3
    assert min(dice) > 0.85
    assert re.search(r'L3 in 3 new bodies, .*: \d+ \(\d+\), \d+ \(\d+\), \d+ \(\d+\)', printed)
    pictures = re.findall('picture: (.*)', printed)
    assert len(pictures) == 2
    for picture in pictures:
        with open(picture, 'rb') as file:
            assert file.read(4) == b'\x89PNG'


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
