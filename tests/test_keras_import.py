"""Files of the reference system: written here in its layout, and real ones beside the project."""

import json
import re
import runpy
import sys

import h5py
import jax
import numpy as np
import pytest
from conftest import ROOT, SHARED_DATA, SIDE, read_rows, tiny_config, train_tiny

from bodycomp_jax import cli
from bodycomp_jax.checkpoint import load_model, starting_weights
from bodycomp_jax.config import SliceSelectionConfig
from bodycomp_jax.errors import InputError
from bodycomp_jax.models import densenet, keras_import, predictors, unet
from bodycomp_jax.training import losses

UNET = tiny_config(num_convs=2)
DENSENET = SliceSelectionConfig(
    nb_layers_per_block=2, nb_blocks=2, nb_initial_filters=4, growth_rate=5, compression_rate=0.6
)
REFERENCE = SHARED_DATA / 'reference'
with_reference = pytest.mark.skipif(not REFERENCE.exists(), reason='no reference networks')


def random_variables(config):
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda s: rng.uniform(0.1, 0.5, s.shape).astype(np.float32), predictors.shapes(config)
    )
    return {'batch_stats': {}, **variables}


@pytest.fixture(params=[UNET, DENSENET], ids=['unet', 'densenet'])
def network(request, tmp_path):
    """(its file, its config, its variables)."""
    path, variables = tmp_path / 'weights.hdf5', random_variables(request.param)
    keras_import.write(path, request.param, variables)
    return path, request.param, variables


@pytest.fixture
def unet_file(tmp_path):
    path = tmp_path / 'unet.hdf5'
    keras_import.write(path, UNET, random_variables(UNET))
    return path


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def architecture_of(path, classes):
    """A whole model of what was a weights file: its tensors in a group, its architecture beside."""
    with h5py.File(path, 'r+') as file:
        group = file.create_group('model_weights')
        for name in [name for name in file if name != 'model_weights']:
            file.move(name, f'model_weights/{name}')
        for name, value in file.attrs.items():
            group.attrs[name] = value
        layers = [
            {'class_name': name, 'config': {'activation': activation}}
            for name, activation in classes
        ]
        file.attrs['model_config'] = json.dumps({'config': {'layers': layers}})


def test_the_architecture_is_told_from_the_tensors_and_no_bit_changes(network):
    path, config, variables = network
    found, tensors = keras_import.read(path)
    for name in keras_import.configs.of_group(config, 'Network'):
        assert getattr(found, name) == getattr(config, name)
    assert_equal(tensors, variables)


def test_a_densenet_without_norms(tmp_path):
    config = SliceSelectionConfig(
        nb_layers_per_block=1, nb_blocks=3, growth_rate=2, omit_norm=True, levels=('T5', 'L3')
    )
    variables = random_variables(config)
    keras_import.write(tmp_path / 'weights.hdf5', config, variables)
    found, tensors = keras_import.read(tmp_path / 'weights.hdf5', levels=('T5', 'L3'))
    assert found.omit_norm
    assert found.levels == ('T5', 'L3')
    assert_equal(tensors, variables)
    assert keras_import.read(tmp_path / 'weights.hdf5')[0].levels == ('level_0', 'level_1')
    with pytest.raises(InputError, match='tells 2 levels, but --levels names 1: L3'):
        keras_import.read(tmp_path / 'weights.hdf5', levels=('L3',))


def test_a_whole_model_tells_its_activation(network):
    path, _, variables = network
    classes = [('Activation', name) for name in ('relu', 'elu', 'softmax')]
    architecture_of(path, [('InputLayer', None), *classes])
    found, tensors = keras_import.read(path)
    assert found.activation == 'elu'
    assert_equal(tensors, variables)
    with pytest.raises(InputError, match='--activation elu, not tanh'):
        keras_import.read(path, activation='tanh')


def test_a_bias_before_a_batch_norm_moves_its_mean(unet_file):
    images = np.random.default_rng(1).integers(-200, 200, (1, SIDE, SIDE))
    expected, _ = load_model(unet_file)(images)
    with h5py.File(unet_file, 'r+') as file:
        for conv, norm in (('compression_0_conv_1', 'compression_0_norm_1'),):
            bias = np.float32([0.5, -0.25, 2.0, 1.0])
            file[f'{conv}/{conv}/bias:0'][...] = bias
            file[f'{norm}/{norm}/moving_mean:0'][...] += bias
    np.testing.assert_allclose(load_model(unet_file)(images)[0], expected, atol=1e-6)


def names_of(file):
    return [keras_import._text(name) for name in file.attrs['layer_names']]


def damaged(change):
    def apply(path):
        with h5py.File(path, 'r+') as file:
            change(file)

    return apply


def replace(name, array):
    def change(file):
        del file[name]
        file[name] = array

    return damaged(change)


def drop(layer):
    def change(file):
        names = [name for name in names_of(file) if name != layer]
        file.attrs['layer_names'] = [name.encode() for name in names]

    return damaged(change)


def write(content):
    return lambda path: path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:3000])


def pretend_it_is_another_network(file):
    file.attrs['layer_names'] = []


NORM = 'compression_0_norm_0/compression_0_norm_0'
WRONG = {
    'no HDF5': (write(b'weights'), 'not an HDF5 file'),
    'empty': (write(b''), 'not an HDF5 file'),
    'pointer': (write(b'version https://git-lfs.github.com/spec/v1\n'), 'run `git lfs pull`'),
    'archive': (write(b'PK\3\4'), 'Keras 3 archive'),
    'cut': (cut, 'damaged or cut short'),
    'other': (damaged(pretend_it_is_another_network), 'neither the segmentation network'),
    'no weights': (damaged(lambda f: f.attrs.pop('layer_names')), 'not a file of Keras weights'),
    'nan': (replace(f'{NORM}/beta:0', np.full(4, np.nan)), 'beta:0 has values that are not fin'),
    'integers': (replace(f'{NORM}/beta:0', np.arange(4)), r'beta:0 is int64 of shape \(4,\)'),
    'shape': (
        replace(f'{NORM}/beta:0', np.zeros(5, np.float32)),
        r'layer compression_0_norm_0 does not fit: expected beta of shape \(4,\), found \(5,\)',
    ),
    'missing': (drop('decompression_0_norm_1'), 'layer decompression_0_norm_1 does not fit: exp'),
    'missing levels': (drop('compression_center_conv_0'), "not the segmentation.*'compression_c"),
    'lambda': (lambda path: architecture_of(path, [('Lambda', None)]), 'never run'),
    'no sense': (lambda path: architecture_of(path, []), 'not the segmentation network of'),
}


@pytest.mark.parametrize('wrong', WRONG)
def test_wrong_files_are_one_paragraph_code_two_and_nothing_on_disk(
    unet_file, tmp_path, monkeypatch, capsys, wrong
):
    damage, message = WRONG[wrong]
    damage(unet_file)
    main = runpy.run_path(str(ROOT / 'bin/convert_weights.py'))['main']
    target = tmp_path / 'out' / 'model'
    monkeypatch.setattr(sys, 'argv', ['convert', str(unet_file), str(target)])
    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert re.search(message, error), error
    assert len(error.strip().splitlines()) == 1
    assert not target.parent.exists()


def test_an_extra_layer_is_refused(unet_file):
    with h5py.File(unet_file, 'r+') as file:
        file.attrs['layer_names'] = [*(name.encode() for name in names_of(file)), b'dense']
        file['dense/kernel:0'] = np.zeros((2, 2), np.float32)
        file['dense'].attrs['weight_names'] = [b'kernel:0']
    with pytest.raises(InputError, match=r'14 layers with weights.* 13; dense is one too many'):
        keras_import.read(unet_file)


def test_there_and_back_again(network, tmp_path):
    path, _, variables = network
    main = runpy.run_path(str(ROOT / 'bin/convert_weights.py'))['main']
    folder, again = tmp_path / 'made' / 'model', tmp_path / 'again.hdf5'
    main(['convert', str(path), str(folder), '-A', 'elu'])
    assert load_model(folder).config.activation == 'elu'
    main(['convert', str(folder), str(again)])
    assert_equal(keras_import.read(again)[1], variables)
    with pytest.raises(InputError, match='is there already'):
        main(['convert', str(path), str(folder)])
    with pytest.raises(InputError, match='is there already'):
        main(['convert', str(folder), str(again)])
    with pytest.raises(InputError, match='says it itself'):
        main(['convert', str(folder), str(tmp_path / 'third.hdf5'), '-L', 'L3'])


def test_training_goes_on_from_a_file_as_from_the_run(finished_run, data_dir, tmp_path):
    path = tmp_path / 'weights.hdf5'
    model = load_model(finished_run.run_dir)
    keras_import.write(path, model.config, model.variables)
    runs = {
        'from the run': (finished_run.run_dir, 0.01),
        'from the file': (path, 0.01),
        'standing still': (path, 1e-30),
    }
    loss = {}
    for name, (weights, rate) in runs.items():
        config = tiny_config(load_weights=str(weights), learning_rate=rate)
        variables = starting_weights(tmp_path / name, config)
        train_tiny(data_dir, tmp_path / name, config, variables=variables)
        loss[name] = [float(r['train_loss']) for r in read_rows(tmp_path / name / 'metrics.csv')]
    assert loss['from the file'] == loss['from the run']
    assert loss['from the file'][-1] < loss['standing still'][0] - 0.01


def test_flags_that_contradict_the_file_are_named(unet_file, tmp_path):
    config = tiny_config(load_weights=str(unet_file), thoracic_model=True)
    with pytest.raises(InputError, match='--num_convs 2, not 1, --thoracic_model off, not on'):
        starting_weights(tmp_path, config)
    config = SliceSelectionConfig(load_weights=str(unet_file))
    with pytest.raises(InputError, match='a segmentation network, not a slice_selection'):
        starting_weights(tmp_path, config)


@with_reference
@pytest.mark.parametrize('kind', ['weights', 'model'])
@pytest.mark.parametrize('name', ['unet_small', 'unet_elu_3class'])
def test_the_unets_of_the_reference_give_its_answers(name, kind):
    told = {'activation': 'elu'} if 'elu' in name and kind == 'weights' else {}
    config, variables = keras_import.read(REFERENCE / f'{name}.{kind}.hdf5', **told)
    recorded = np.load(REFERENCE / f'{name}.npz')
    images = unet.inputs(recorded['images'].squeeze(-1), apply_window=False)
    found = jax.nn.softmax(unet.from_config(config).apply(variables, images))
    np.testing.assert_allclose(found, recorded['probabilities'], atol=1e-5)
    batch = {'mask': recorded['masks'].reshape(images.shape[:3]), 'weight': np.ones(len(images))}
    batch['weight'] = batch['weight'].astype(np.float32)
    sums = losses.segmentation_sums(np.log(recorded['probabilities']), batch)
    assert float(losses.dice(sums)) == pytest.approx(float(recorded['loss']), abs=1e-6)


@with_reference
@pytest.mark.parametrize('kind', ['weights', 'model'])
@pytest.mark.parametrize('name', ['densenet_small', 'densenet_two_levels'])
def test_the_densenets_of_the_reference_give_its_answers(name, kind):
    config, variables = keras_import.read(REFERENCE / f'{name}.{kind}.hdf5')
    recorded = np.load(REFERENCE / f'{name}.npz')
    images = densenet.inputs(recorded['images'].squeeze(-1))
    found = jax.nn.sigmoid(densenet.from_config(config).apply(variables, images))
    np.testing.assert_allclose(found, recorded['outputs'].reshape(found.shape), atol=1e-5)
