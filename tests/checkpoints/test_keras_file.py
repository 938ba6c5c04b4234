import zipfile

import h5py
import numpy as np
import pytest
from keras_files import (
    architecture,
    convert,
    densenet_layers,
    unet_layers,
    write_keras_2,
    write_keras_2_nested,
    write_keras_3,
)

from bodycomp_jax.checkpoints import keras_file
from bodycomp_jax.errors import InputError
from bodycomp_jax.inference.load import load_model

MODEL = architecture('relu', 'linear', 'softmax')
ACTIVATIONS = [('activation_0', 'relu'), ('activation_2', 'softmax')]
FORMATS = {
    'Keras 2, weights': (write_keras_2, (), None),
    'Keras 2, model': (write_keras_2, (MODEL,), ACTIVATIONS),
    'Keras 2, nested': (write_keras_2_nested, (), None),
    'Keras 3, weights': (write_keras_3, (), None),
    'Keras 3, model': (write_keras_3, (MODEL,), ACTIVATIONS),
}


def assert_layers_are(file, layers):
    """The file must have these layers, in any order, to the bit."""
    assert len(file.layers) == len(layers)
    found = {layer.name: layer for layer in file.layers}
    for name, tensors in layers.items():
        kind = 'norm' if 'gamma' in tensors else 'dense' if 'dense' in name else 'conv'
        assert found[name].kind == kind
        assert list(found[name].tensors) == list(tensors)
        for tensor, values in tensors.items():
            np.testing.assert_array_equal(found[name].tensors[tensor], values)


@pytest.mark.parametrize('make', [unet_layers, densenet_layers])
@pytest.mark.parametrize('kind', FORMATS)
def test_every_format_gives_the_same_layers(tmp_path, kind, make):
    write, model_config, activations = FORMATS[kind]
    file = keras_file.read(write(tmp_path / 'net', make(), *model_config))
    assert_layers_are(file, make())
    assert file.activations == activations


def test_written_layers_are_read_again(tmp_path):
    layers = densenet_layers()
    keras_file.write(tmp_path / 'net.hdf5', layers)
    file = keras_file.read(tmp_path / 'net.hdf5')
    assert [layer.name for layer in file.layers] == list(layers)  # which Keras 2 loads in order
    assert_layers_are(file, layers)
    assert file.activations is None


@pytest.mark.parametrize(
    ('model_config', 'message'),
    [
        (architecture('relu', class_name='Lambda', config={'name': 'f'}), 'layer f is a Lambda'),
        (
            architecture(
                class_name='Functional',
                config={'layers': [{'class_name': 'Lambda', 'config': {'function': ['4wEA']}}]},
            ),
            'is a Lambda, and code in a file is never executed',
        ),
        (
            architecture(class_name='BatchNormalization', config={'name': 'norm', 'epsilon': 1e-5}),
            'layer norm has epsilon 1e-05',
        ),
        ('{', 'truncated or corrupt'),
    ],
)
def test_unsupported_architectures_are_refused(tmp_path, model_config, message):
    path = write_keras_2(tmp_path / 'net.hdf5', unet_layers(), model_config)
    with pytest.raises(InputError, match=message):
        keras_file.read(path)


def test_weights_that_are_not_floats_are_refused(tmp_path):
    layers = unet_layers()
    layers['final_conv']['bias'] = np.zeros(4, np.int32)
    path = write_keras_2(tmp_path / 'net.hdf5', layers)
    with pytest.raises(InputError, match=r'corrupt \(.*final_conv/bias:0 has the dtype int32\)'):
        keras_file.read(path)


def bytes_of(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def other_zip(path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('image.npy', '')


WRONG_FILES = {
    'no HDF5': (
        bytes_of(lambda b: b'\x93NUMPY' + b),
        'not a Keras file .*, but a .npy file; give a file',
    ),
    'empty': (bytes_of(lambda b: b''), 'not a Keras file .*, but an empty file; copy it again'),
    'truncated': (bytes_of(lambda b: b[: len(b) // 2]), 'this file is truncated or corrupt'),
    'names lost': (
        bytes_of(lambda b: b.replace(b'weight_names', b'weight_nam\xff\xff')),
        'corrupt',
    ),
    'git-lfs': (
        bytes_of(lambda b: b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n'),
        'not a Keras file .*, but a Git LFS pointer; .* git lfs pull',
    ),
    'empty zip': (lambda path: zipfile.ZipFile(path, 'w').close(), 'not a Keras file'),
    'other zip': (other_zip, 'this zip file is not from Keras'),
    'no Keras': (lambda path: h5py.File(path, 'w').close(), 'no layers where Keras 2 or 3 stores'),
    'gone': (lambda path: path.unlink(), 'no model found'),
}


@pytest.mark.parametrize('wrong', WRONG_FILES)
def test_a_conversion_of_an_unreadable_file_prints_one_line_exits_with_2_and_writes_nothing(
    tmp_path, monkeypatch, capsys, wrong
):
    path = write_keras_2(tmp_path / 'unet.hdf5', unet_layers())
    damage, message = WRONG_FILES[wrong]
    damage(path)
    before = sorted(tmp_path.iterdir())
    code, error = convert(monkeypatch, capsys, path, tmp_path / 'out' / 'final_model')
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert str(path) in error
    with pytest.raises(InputError, match=message):
        load_model(path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(InputError, match=r'cannot be opened \(No such file or directory'):
        keras_file.read(tmp_path / 'gone.hdf5')
