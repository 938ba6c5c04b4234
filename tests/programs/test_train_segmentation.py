"""The segmentation trainer as a user starts it, in this process where that is enough."""

import json
import re
import shutil

import numpy as np
import pytest
from helpers import (
    SHARED_DATA,
    SIDE,
    drawn_variables,
    needs_shared_data,
    read_rows,
    tiny_config,
)

from bodycomp_jax import load_model
from bodycomp_jax.checkpoints import store
from bodycomp_jax.checkpoints.network import fingerprint
from bodycomp_jax.config import to_json
from bodycomp_jax.programs import train_segmentation
from bodycomp_jax.runtime import program

TINY = ['-C', '4,8', '-M', '4', '-b', '4', '-l', '0.01', '--name', 'run']


@pytest.fixture
def trainer(monkeypatch, capsys):
    """Runs the trainer in this process, on one device: (exit code, output, errors)."""

    def run_here(*arguments):
        argv = ['train', *map(str, arguments)]
        monkeypatch.setattr('sys.argv', argv if '-g' in argv else [*argv, '-g', '1'])
        code = program.exit_code(train_segmentation.main)
        return code, *capsys.readouterr()

    return run_here


def test_the_command_of_a_finished_run_reports_it_again_and_trains_longer_with_more_epochs(
    data_dir, tmp_path, trainer
):
    for epochs, trained in ((1, 1), (1, 0), (2, 1)):
        code, printed, errors = trainer(
            '--data_dir', data_dir, '--model_output_dir', tmp_path, *TINY, '-e', epochs
        )
        assert code == 0, errors
        assert printed.count('images/s') == trained
        assert f'best epoch, {epochs}' in printed
        assert 'load_model' in printed
    assert len(read_rows(tmp_path / 'run/metrics.csv')) == 2


def test_a_run_starts_from_a_coarser_network_and_says_from_which_when_it_is_gone(
    data_dir, tmp_path, trainer
):
    coarse = tmp_path / 'coarse'
    config = tiny_config(network_size=SIDE // 2)
    store.write(str(coarse), variables=drawn_variables(config.network), config=to_json(config))
    identity = fingerprint(str(coarse))
    command = [data_dir, tmp_path, '--name=run', '-b=8', '-w', coarse, '--pixel_shuffle=2']
    for trained in (1, 0):
        code, printed, errors = trainer(*command, '-e', 1)
        assert code == 0, errors
        assert printed.count('images/s') == trained
        args = json.loads((tmp_path / 'run/args.json').read_text())
        assert (args['network_size'], args['started_from']) == (SIDE, identity)
        shutil.rmtree(coarse, ignore_errors=True)


@pytest.mark.processes
def test_a_run_on_synthetic_slices_needs_no_data_and_continues(data_dir, tmp_path, trainer):
    synthetic = [
        *TINY, '--synthetic', '--network_size=32', '--batches_per_epoch=2', '--synthetic_epochs=2',
    ]  # fmt: skip
    for epochs, done in ((1, 'starts'), (2, 'continues')):
        code, printed, errors = trainer(tmp_path, *synthetic, '-e', epochs)
        assert code == 0, errors
        assert re.search('train +synthetic slices of 32 x 32, .* each seen in 2 epochs', printed)
        assert f'run {done}' in printed
    code, _, errors = trainer(data_dir, tmp_path, *synthetic, '-e', 3)
    assert (code, 'other val data: it was synthetic and is images and masks' in errors) == (
        2,
        True,
    ), errors


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
    'other masks': (changed('train_masks', lambda a: a[:-1]), [], 'one label per pixel'),
    'unsigned': (changed('train_images', lambda a: a.astype('u2')), [], 'use int16 HU'),
    '8 bits': (changed('val_images', lambda a: a.astype('i1')), [], 'use int16 HU'),
    'float masks': (changed('val_masks', lambda a: a.astype('f4')), [], 'save them as uint8'),
    'durations': (
        changed('val_images', lambda a: a.astype('m8[s]')),
        [],
        'expected an array of numb',
    ),
    'labels': (changed('val_masks', with_pixel(200)), [], 'slice 3 has the labels 200, and 1 of 5'),
    'labels below': (changed('val_masks', with_pixel(-1)), [], 'slice 3 has the labels -1'),
    'nan': (changed('train_images', with_pixel(np.nan)), [], 'slice 3 has 1 NaN and 0 infinite'),
    'too large': (changed('train_images', with_pixel(1e300)), [], '0 NaN and 1 infinite'),
    'fractions': (
        changed('train_images', lambda a: (a.clip(-160, 240) + 160) / 400),
        [],
        'values from 0 to 1 are scaled, not HU',
    ),
    'stored values': (changed('val_images', lambda a: a + 1024), [], 'RescaleIntercept'),
    'no labels': (changed('val_masks', lambda a: a * 0), [], 'no pixel has a label'),
    'nothing synthetic': (
        None,
        ['--synthetic_epochs', '2'],
        '--synthetic_epochs has no effect without --synthetic or --mix_synthetic; add that',
    ),
    'grey values': (None, ['--noapply_window_function'], r'not grey values in 0\.\.255'),
    'the same slices': (
        lambda data_dir: [
            shutil.copy(data_dir / f'train_{kind}.npy', data_dir / f'val_{kind}.npy')
            for kind in ('images', 'masks')
        ],
        [],
        'slice 0 is also slice 0 in',
    ),
    'empty': (changed('train_images', lambda a: a[:0]), [], 'expected at least one slice'),
    'few slices': (None, ['-b', '24'], 'fewer than the 24 of one batch; use -b 21'),
    'batch over devices': (None, ['-b', '12', '-g', '8'], 'use a multiple of 8'),
    'too many devices': (None, ['-g', '9'], 'this machine has 8'),
    'no halving': (None, ['-C', '2,2,2,2,2,2,2', '-M', '2,2,2,2,2,2'], 'multiple of 64'),
    'not square': (changed('val_images', lambda a: a[:, 1:]), [], 'are not square; pad or crop'),
    'other split': (changed('val_images', lambda a: a[:, ::2, ::2]), [], 'one label per pixel'),
    'channels': (None, ['-C', '4,8'], 'exactly one level fewer'),
    'name': (None, ['--name', '../x'], 'expected a plain folder name'),
    'no weights': (None, ['-w', '/nowhere'], '/nowhere: there is no such file'),
    'thoracic': (None, ['-t'], 'visceral fat .3. needs a network .*--nothoracic_model'),
}


@pytest.mark.parametrize('wrong', WRONG)
def test_wrong_input_prints_one_line_ends_with_code_two_and_writes_nothing(
    data_dir, tmp_path, trainer, wrong
):
    damage, flags, message = WRONG[wrong]
    own, out = tmp_path / 'data', tmp_path / 'out'
    shutil.copytree(data_dir, own)
    if damage is not None:
        damage(own)
    network = [] if '-C' in flags else ['-C', '4,8', '-M', '4']
    batch = [] if '-b' in flags else ['-b', '8']
    code, _, errors = trainer(own, out, *network, *batch, *flags)
    assert code == 2
    assert re.search(message, errors)
    assert len(errors.strip().splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'DATA_DIR or MODEL_OUTPUT_DIR is missing; give both, or .*--synthetic'),
        (['--mix_synthetic', '0.5'], 'DATA_DIR or MODEL_OUTPUT_DIR is missing'),
        (['--synthetic', '--folds', '3', '--fold', '0'], '--folds has no effect without DATA_DIR'),
        (['--synthetic', '-t'], '--thoracic_model: synthetic slices are of the abdomen'),
    ],
)
def test_without_data_only_synthetic_slices_train(tmp_path, trainer, flags, message):
    code, _, errors = trainer(tmp_path / 'out', *TINY, *flags)
    assert (code, bool(re.search(message, errors))) == (2, True), errors
    assert not (tmp_path / 'out').exists()


def test_corrupt_weights_are_named(trainer, finished_run, data_dir, tmp_path):
    weights = tmp_path / 'weights'
    shutil.copytree(finished_run.run_dir / 'final_model', weights)
    (weights / 'config' / 'metadata').write_text('{}')
    code, _, errors = trainer(data_dir, tmp_path / 'out', *TINY, '-w', weights)
    assert code == 2
    assert 'no valid model' in errors
    assert not (tmp_path / 'out').exists()


def test_training_starts_from_given_weights(trainer, finished_run, data_dir, tmp_path):
    flags = [*TINY, '-e', 1, '-l', '1e-30', '-w', finished_run.run_dir]
    code, _, errors = trainer(data_dir, tmp_path, *flags)
    assert (code, 'learning_rate' in errors) == (2, True)  # the flag is given twice
    flags = [flag for flag in flags if flag not in ('-l', '0.01', '1e-30')]
    code, _, errors = trainer(data_dir, tmp_path, *flags, '-l', '1e-30')
    assert code == 0, errors
    (started,), (given,) = (
        load_model(f).variables for f in (tmp_path / 'run', finished_run.run_dir)
    )
    kernel = given['params']['final_conv']['kernel']
    np.testing.assert_array_equal(started['params']['final_conv']['kernel'], kernel)


def test_training_and_validation_images_may_have_different_types(trainer, data_dir, tmp_path):
    own = tmp_path / 'data'
    shutil.copytree(data_dir, own)
    changed('val_images', lambda a: a.astype(np.float32))(own)
    code, _, errors = trainer(own, tmp_path, *TINY, '-e', 1)
    assert code == 0, errors


def test_a_run_keeps_its_fold(trainer, data_dir, tmp_path):
    own = tmp_path / 'data'
    shutil.copytree(data_dir, own)
    rows = [f'{split},{i},p{i // 2}' for split, n in (('train', 21), ('val', 5)) for i in range(n)]
    (own / 'slices.csv').write_text('\n'.join(['split,row,patient', *rows]))
    for epochs, done in (('1', 'starts'), ('2', 'continues')):
        fold = ['--folds', '4', '--fold', '2', '-e', epochs]
        code, printed, errors = trainer(own, tmp_path, *TINY, *fold)
        assert code == 0, errors
        assert re.search(r'train +\d+ slices \(all but fold 2 of 4 by patient\)', printed)
        assert f'run {done}' in printed
    for other, wanted in (
        (['--folds', '4', '--fold', '1'], 'with --fold=2, not --fold=1'),
        (['--folds', '5', '--fold', '2'], 'with --folds=4, not --folds=5'),
        ([], 'with --folds=4, not no --folds'),
    ):
        code, _, errors = trainer(own, tmp_path, *TINY, *other, '-e', '3')
        assert (code, wanted in errors) == (2, True), errors
    rows[0] = 'train,0,p9'
    (own / 'slices.csv').write_text('\n'.join(['split,row,patient', *rows]))
    code, _, errors = trainer(own, tmp_path, *TINY, '--folds', '4', '--fold', '2', '-e', '3')
    assert (code, 'was started on other' in errors) == (2, True), errors


def test_values_that_are_not_checked_are_trained_on(trainer, data_dir, tmp_path):
    own = tmp_path / 'data'
    shutil.copytree(data_dir, own)
    changed('train_images', lambda a: a + 1024)(own)
    code, printed, errors = trainer(own, tmp_path, *TINY, '-e', 1, '--nocheck_values')
    assert code == 0, errors
    assert 'WARNING' not in printed


@needs_shared_data
def test_a_small_network_starts_to_segment_real_ct(trainer, tmp_path):
    for split in ('train', 'val'):
        for kind in ('images', 'masks'):
            array = np.load(SHARED_DATA / 'abdomen_npy' / f'{split}_{kind}.npy')
            np.save(tmp_path / f'{split}_{kind}.npy', array[:, 2::8, 2::8])
    network = ['-C', '8,16,32', '-M', '16,8', '-b', '6', '-l', '0.01', '--name', 'real']
    code, _, errors = trainer(
        tmp_path, tmp_path / 'out', *network, '-e', '6', '--batches_per_epoch', '30'
    )
    assert code == 0, errors
    best = min(read_rows(tmp_path / 'out/real/metrics.csv'), key=lambda row: float(row['val_loss']))
    assert float(best['dice_muscle']) > 0.8
    assert float(best['dice_subcutaneous_fat']) > 0.8
    assert float(best['dice_visceral_fat']) > 0.6
    _, labels = load_model(tmp_path / 'out' / 'real')(np.load(tmp_path / 'val_images.npy')[..., 0])
    assert set(np.unique(labels)) == {0, 1, 2, 3}
