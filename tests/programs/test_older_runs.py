"""Runs that an earlier version wrote: they predict as before, and continue."""

import os
import shutil

import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data, read_rows

from bodycomp_jax import load_model
from bodycomp_jax.errors import InputError
from bodycomp_jax.programs import train_segmentation, train_slice_selection

RUNS = SHARED_DATA / 'runs'
FLAGS = '--name segmentation -C 4,8,8 -M 8,4 -b 6 -e 4 -g 1'  # of the segmentation run

pytestmark = needs_shared_data


@pytest.fixture(scope='module')
def answers():
    with np.load(RUNS / 'answers.npz') as file:
        return dict(file)


@pytest.fixture
def runs(tmp_path):
    """A writable copy of the folder of both runs."""
    shutil.copytree(RUNS, tmp_path / 'runs')
    for folder, _, _ in os.walk(tmp_path / 'runs'):
        os.chmod(folder, 0o755)
    return tmp_path / 'runs'


@pytest.fixture
def small_ct(tmp_path):
    """The segmentation data of the older run: every eighth pixel."""
    for path in (SHARED_DATA / 'abdomen_npy').glob('*.npy'):
        np.save(tmp_path / path.name, np.load(path)[:, ::8, ::8])
    return tmp_path


def test_segmentation_predicts_as_before(answers):
    probabilities, labels = load_model(RUNS / 'segmentation')(answers['slices'])
    np.testing.assert_allclose(probabilities, answers['probabilities'], atol=1e-6)
    np.testing.assert_array_equal(labels, answers['labels'])


def test_slice_selection_predicts_as_before(answers):
    offsets = load_model(RUNS / 'slice_selection')(answers['slices'])
    np.testing.assert_allclose(offsets, answers['offsets'], rtol=1e-6)


def test_segmentation_continues(runs, small_ct):
    flags = FLAGS.split()
    before = read_rows(runs / 'segmentation/metrics.csv')
    train_segmentation.main(['train', str(small_ct), str(runs), *flags])
    rows = read_rows(runs / 'segmentation/metrics.csv')
    assert rows[:3] == before
    assert [row['step'] for row in rows] == ['3', '6', '9', '12']
    assert float(rows[3]['train_loss']) < float(rows[2]['train_loss'])


def test_segmentation_on_other_data_is_refused(runs, small_ct):
    flags = FLAGS.split()
    images = np.load(small_ct / 'val_images.npy')
    np.save(small_ct / 'val_images.npy', images + 1)
    with pytest.raises(InputError, match='other val images: fingerprint was 2379686904 and is'):
        train_segmentation.main(['train', str(small_ct), str(runs), *flags])


def test_slice_selection_continues(runs):
    flags = (
        '--name=slice_selection -L L3,L1 -b 12 -e 3 --nb_layers_per_block=2 --nb_blocks=2'
        ' --nb_initial_filters=4 --growth_rate=4 -g 1'
    )
    before = read_rows(runs / 'slice_selection/metrics.csv')
    argv = ['train', str(SHARED_DATA / 'spine_png'), str(runs), *flags.split()]
    train_slice_selection.main(argv)
    rows = read_rows(runs / 'slice_selection/metrics.csv')
    assert rows[:2] == before
    assert [row['step'] for row in rows] == ['7', '14', '21']
