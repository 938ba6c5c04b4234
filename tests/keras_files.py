"""Small Keras files, and the program that converts them."""

import io
import json
import sys
import zipfile

import h5py
import numpy as np

from bodycomp_jax.programs import convert_weights
from bodycomp_jax.runtime import program

NORM = ('gamma', 'beta', 'moving_mean', 'moving_variance')
LEVELS = {'compression_0': (1, 4), 'compression_center': (4, 8), 'decompression_0': (12, 4)}


def unet_layers(classes=4):
    """{layer: {tensor: array}} of the network of `tiny_config`, with biases other than 0."""
    layers = {}
    for level, (below, channels) in LEVELS.items():
        layers[f'{level}_conv_0'] = weighted(3, 3, below, channels)
        layers[f'{level}_norm_0'] = normed(channels)
    return layers | {'final_conv': weighted(1, 1, 4, classes)}


def densenet_layers(first=20, outputs=2, norm=True):
    """A DenseNet of two blocks of two layers, growth 2, rate 0.4, numbered from `first`."""
    convs = [(1, 4, 8), (3, 8, 2), (1, 6, 8), (3, 8, 2), (1, 4, 3)]  # size, channels in and out
    convs += [(1, 3, 8), (3, 8, 2), (1, 5, 8), (3, 8, 2)]
    layers = {'initial_conv2D': weighted(7, 7, 1, 4)}
    for i, (size, below, channels) in enumerate(convs, start=first):
        if norm:
            layers[f'batch_normalization_{i}'] = normed(below)
        layers[f'conv2d_{i}'] = weighted(size, size, below, channels)
    if norm:
        layers[f'batch_normalization_{first + len(convs)}'] = normed(4)
    return layers | {'dense_1': weighted(4, outputs)}


def weighted(*shape):
    """The tensors of a convolution or dense layer with a kernel of this shape."""
    random = np.random.default_rng(shape)
    kernel = random.normal(0, 0.3, shape).astype('f4')
    return {'kernel': kernel, 'bias': random.normal(0, 0.3, shape[-1]).astype('f4')}


def normed(channels):
    """The tensors of a batch norm."""
    random = np.random.default_rng(channels)
    return {name: random.uniform(0.5, 1.5, channels).astype('f4') for name in NORM}


def architecture(*activations, **layer):
    """The JSON text of a network with these activations and, if given, another layer."""
    layers = [
        {'class_name': 'Activation', 'config': {'name': f'activation_{i}', 'activation': name}}
        for i, name in enumerate(activations)
    ]
    layers += [layer] if layer else []
    return json.dumps({'class_name': 'Functional', 'config': {'layers': layers}})


def write_keras_2(path, layers, model_config=None):
    """Writes what `save_weights` writes or, with an architecture, `save`."""
    with h5py.File(path, 'w') as file:
        group = file
        if model_config is not None:
            file.attrs['model_config'] = model_config
            group = file.create_group('model_weights')
        group.attrs['layer_names'] = np.array(['input_1', *layers], np.bytes_)
        group.create_group('input_1').attrs['weight_names'] = np.zeros(0)
        for name, tensors in layers.items():
            names = [f'{name}/{tensor}:0' for tensor in tensors]
            group.create_group(name).attrs['weight_names'] = [each.encode() for each in names]
            for each, values in zip(names, tensors.values(), strict=True):
                group[name][each] = values
    return path


def write_keras_2_nested(path, layers):
    """Writes a model that is a layer of another, as after training on several GPUs."""
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names0'], file.attrs['layer_names1'] = [b'input_1'], [b'model_1']
        file.create_group('input_1').attrs['weight_names'] = np.zeros(0)
        names = {
            f'{layer}/{name}:0': layers[layer][name] for layer in layers for name in layers[layer]
        }
        group = file.create_group('model_1')
        group.attrs['weight_names'] = [name.encode() for name in names]
        for name, values in names.items():
            group[name] = values
    return path


def write_keras_3(path, layers, model_config=None):
    """Writes layers numbered by kind or, with an architecture, such a file in a zip file."""
    content = io.BytesIO()
    with h5py.File(content, 'w') as file:
        counts = {}
        for name, tensors in layers.items():
            kind = 'batch_normalization' if 'gamma' in tensors else 'conv2d'
            kind = 'dense' if 'dense' in name else kind
            n = counts[kind] = counts.get(kind, -1) + 1
            values = file.create_group(
                f'layers/{kind}_{n}' if n else f'layers/{kind}'
            ).create_group('vars')
            values.attrs['name'] = name
            for i, tensor in enumerate(tensors.values()):
                values[str(i)] = tensor
    if model_config is None:
        path.write_bytes(content.getvalue())
    else:
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('config.json', model_config)
            archive.writestr('model.weights.h5', content.getvalue())
    return path


def convert(monkeypatch, capsys, *arguments):
    """Runs convert_weights in this process; returns (exit code, what it wrote to stderr)."""
    monkeypatch.setattr(sys, 'argv', ['convert_weights.py', *map(str, arguments)])
    code = program.exit_code(convert_weights.main)
    return code, capsys.readouterr().err
