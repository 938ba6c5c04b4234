"""Weights of the reference system: Keras 2 HDF5 files, weights alone or whole models.

The U-Net's layers are found by their names. The DenseNet's have automatic ones (conv2d_17), so
that they are taken in their order. Nothing in a file is ever executed or unpickled.
"""

import json
import math
import os
from typing import NamedTuple

import h5py
import numpy as np

from bodycomp_jax import config as configs
from bodycomp_jax.config import SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.errors import InputError
from bodycomp_jax.models import predictors

HDF5_START, LFS_START, ZIP_START = b'\x89HDF\r\n\x1a\n', b'version https://git-lfs', b'PK'
KERAS_VERSION = b'2.15.0'  # whose layout is written
SAVE_AGAIN = "save it in Keras 2 (tf_keras) by model.save_weights('weights.hdf5')"
RATE_DIGITS = 6  # of a compression rate that is told from numbers of channels


class Layer(NamedTuple):
    """Where the tensors of a layer of the reference are in our variables."""

    path: tuple  # in 'params', and for a norm in 'batch_stats'
    keras_name: str
    is_norm: bool = False


def read(path, **told):
    """The network in a Keras HDF5 file.

    Args:
      path: the file.
      **told: fields of its config, for what the file does not say (a file of weights alone knows
        neither activation nor names of levels); they must not contradict what it says.

    Returns:
      (`SegmentationConfig` or `SliceSelectionConfig`, variables as numpy arrays).

    Raises InputError if it is no such file, or of another network.
    """
    layers, model_config = _read_file(path)
    is_unet = 'final_conv' in layers
    if not is_unet and 'initial_conv2D' not in layers:
        raise InputError(
            f'{path}: neither the segmentation network (no layer final_conv) nor the '
            f'slice-selection network (no layer initial_conv2D); its layers begin with '
            f'{", ".join(list(layers)[:4]) or "nothing"}'
        )
    config_class = SegmentationConfig if is_unet else SliceSelectionConfig
    network = told.pop('network', config_class.network)
    if network != config_class.network:
        raise InputError(f'{path}: this is a {config_class.network} network, not a {network} one')
    try:
        known = (_unet_fields if is_unet else _densenet_fields)(layers)
        known |= _told_by_architecture(path, model_config)
    except (LookupError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f'{path}: not the {config_class.network} network of the reference ({error})'
        ) from error
    outputs = known.pop('outputs')
    _refuse_contradictions(path, known, told)
    if not is_unet:
        told['levels'] = _levels(path, outputs, told.get('levels'))
    fields = {name: value for name, value in told.items() if hasattr(config_class, name)}
    config = config_class(**(fields | known))
    return config, _to_variables(path, layers, config)


def write(path, config, variables):
    """Writes a weights file as Keras 2 does, for the reference's `load_weights`.

    A convolution before a batch norm, which has no bias here, gets one of zeros.
    """
    layers = _layers(config)
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = [layer.keras_name.encode() for layer in layers]
        file.attrs['backend'], file.attrs['keras_version'] = b'tensorflow', KERAS_VERSION
        for layer in layers:
            group = file.create_group(layer.keras_name)
            tensors = _tensors_of(layer, variables)
            names = [f'{layer.keras_name}/{name}:0' for name in tensors]
            group.attrs['weight_names'] = [name.encode() for name in names]
            for name, tensor in zip(names, tensors.values(), strict=True):
                group[name] = tensor


def _read_file(path):
    """({layer: {tensor: array}} in their order, the architecture or None)."""
    try:
        with open(path, 'rb') as file:
            start = file.read(64)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    if start.startswith(LFS_START):
        raise InputError(
            f'{path}: this is a pointer of git-lfs, not the file itself; run `git lfs pull` where '
            'it was cloned'
        )
    if start.startswith(ZIP_START):
        raise InputError(f'{path}: a Keras 3 archive (.keras); {SAVE_AGAIN}')
    if not start.startswith(HDF5_START):
        raise InputError(f'{path}: not an HDF5 file; give a Keras weights file or a run folder')
    try:
        with h5py.File(path, 'r') as file:
            model_config = file.attrs.get('model_config')
            return _read_layers(path, file.get('model_weights', file)), model_config
    except InputError:
        raise
    except Exception as error:  # damaged files make h5py raise errors of many kinds
        raise InputError(f'{path}: damaged or cut short ({error}); copy it again') from error


def _read_layers(path, group):
    if 'layer_names' not in group.attrs:
        kind = 'the layout of Keras 3' if 'layers' in group else 'not a file of Keras weights'
        raise InputError(f'{path}: {kind}; {SAVE_AGAIN}')
    layers, size = {}, os.path.getsize(path)
    for layer in map(_text, group.attrs['layer_names']):
        tensors = {}
        for name in map(_text, group[layer].attrs['weight_names']):
            dataset = group[layer][name]
            if dataset.dtype.kind != 'f' or dataset.nbytes > size:
                raise InputError(f'{path}: {name} is {dataset.dtype} of shape {dataset.shape}')
            tensors[name.rpartition('/')[2].removesuffix(':0')] = dataset[()].astype(np.float32)
            if not np.isfinite(dataset[()]).all():
                raise InputError(f'{path}: {name} has values that are not finite')
        if tensors:
            layers[layer] = tensors
    return layers


def _text(name):
    return name.decode() if isinstance(name, bytes) else str(name)


def _unet_fields(layers):
    def channels(prefix):
        count = 0
        while f'{prefix}_{count}_conv_0' in layers:
            count += 1
        return tuple(layers[f'{prefix}_{i}_conv_0']['kernel'].shape[-1] for i in range(count))

    center = layers['compression_center_conv_0']['kernel'].shape[-1]
    classes = layers['final_conv']['kernel'].shape[-1]
    if classes not in (3, 4):
        raise ValueError(f'final_conv has {classes} classes, not 3 or 4')
    convs = 0
    while f'compression_center_conv_{convs}' in layers:
        convs += 1
    return {
        'compression_channels': (*channels('compression'), center),
        'decompression_channels': channels('decompression'),
        'num_convs': convs,
        'thoracic_model': classes == 3,
        'outputs': classes,
    }


def _densenet_fields(layers):
    """By the sizes of the kernels: 1x1 and 3x3 are a layer, 1x1 alone is a transition."""
    initial, *kernels, dense = (t['kernel'].shape for t in layers.values() if 'kernel' in t)
    blocks, transitions, i = [0], [], 0
    while i < len(kernels):
        if i + 1 < len(kernels) and kernels[i + 1][0] == 3:
            blocks[-1] += 1
            i += 2
        else:
            blocks.append(0)
            transitions.append(kernels[i][-1])
            i += 1
    if len(set(blocks)) > 1 or not kernels:
        raise ValueError(f'blocks of {blocks} layers')
    growth = kernels[1][-1]
    fields = {
        'nb_initial_filters': initial[-1],
        'nb_layers_per_block': blocks[0],
        'nb_blocks': len(blocks),
        'growth_rate': growth,
        'omit_norm': not any('gamma' in tensors for tensors in layers.values()),
        'outputs': dense[-1],
    }
    if transitions:
        fields['compression_rate'] = _compression(initial[-1], blocks[0] * growth, transitions)
    return fields


def _compression(C, added, transitions):
    """The roundest rate that makes these numbers of channels of what each block counts."""
    low, high = 0.0, 1.0 + 1e-9
    for kept in transitions:
        low, high = max(low, kept / (C + added)), min(high, (kept + 1) / (C + added))
        C = kept
    for digits in range(1, RATE_DIGITS + 1):
        rate = math.ceil(low * 10**digits - 1e-9) / 10**digits
        if low <= rate < high:
            return rate
    raise ValueError(f'transitions of {transitions} channels, which no compression rate makes')


def _told_by_architecture(path, model_config):
    """{'activation': that before the output's}, if there is an architecture."""
    if model_config is None:
        return {}
    layers = json.loads(_text(model_config))['config']['layers']
    if any('Lambda' in layer['class_name'] for layer in layers):
        raise InputError(f'{path}: its architecture has a Lambda layer, whose code is never run')
    *_, activation, _ = [
        layer['config']['activation'] for layer in layers if layer['class_name'] == 'Activation'
    ]
    if activation not in configs.ACTIVATIONS:
        raise ValueError(f'the activation {activation!r} is not known')
    return {'activation': activation}


def _refuse_contradictions(path, known, told):
    wrong = [name for name in known if name in told and told[name] != known[name]]
    if wrong:
        listed = ', '.join(
            f'--{name} {configs.as_flag(known[name])}, not {configs.as_flag(told[name])}'
            for name in wrong
        )
        raise InputError(f'{path}: this network has {listed}; give the same values')


def _levels(path, outputs, told):
    """Names of the levels, as told or made up."""
    if told is None:
        return ('L3',) if outputs == 1 else tuple(f'level_{i}' for i in range(outputs))
    if len(told) != outputs:
        raise InputError(
            f'{path}: this network tells {outputs} levels, but --levels names {len(told)}: '
            f'{configs.as_flag(told)}'
        )
    return told


def _layers(config):
    """The layers with weights, in the order of the reference."""
    if isinstance(config, SliceSelectionConfig):
        return _densenet_layers(config)
    depth = len(config.decompression_channels)
    blocks = [
        *(f'compression_{i}' for i in range(depth)),
        'compression_center',
        *(f'decompression_{i}' for i in range(depth)),
    ]
    layers = [
        Layer((block, f'{kind}_{j}'), f'{block}_{kind}_{j}', kind == 'norm')
        for block in blocks
        for j in range(config.num_convs)
        for kind in ('conv', 'norm')
    ]
    return [*layers, Layer(('final_conv',), 'final_conv')]


def _densenet_layers(config):
    ours = []
    for i in range(config.nb_blocks):
        for j in range(config.nb_layers_per_block):
            parts = ('norm_0', 'conv_0', 'norm_1', 'conv_1')
            ours += [f'block_{i}_layer_{j}_{part}' for part in parts]
        if i < config.nb_blocks - 1:
            ours += [f'transition_{i}_norm', f'transition_{i}_conv']
    norms = [name for name in [*ours, 'final_norm'] if 'norm' in name]
    convs = [name for name in ours if 'conv' in name]
    numbered = {name: _numbered('batch_normalization', i) for i, name in enumerate(norms)}
    numbered |= {name: _numbered('conv2d', i) for i, name in enumerate(convs)}
    layers = [Layer((name,), numbered[name], 'norm' in name) for name in [*ours, 'final_norm']]
    if config.omit_norm:
        layers = [layer for layer in layers if not layer.is_norm]
    return [Layer(('initial_conv',), 'initial_conv2D'), *layers, Layer(('dense',), 'dense')]


def _numbered(name, i):
    return f'{name}_{i}' if i else name


def _tensors_of(layer, variables):
    """What Keras calls the tensors of a layer: {name: array}, in its order."""
    params = _at(variables['params'], layer.path)
    if not layer.is_norm:
        kernel = np.asarray(params['kernel'])
        bias = params.get('bias', np.zeros(kernel.shape[-1], np.float32))
        return {'kernel': kernel, 'bias': np.asarray(bias)}
    stats = _at(variables['batch_stats'], layer.path)
    return {
        'gamma': np.asarray(params['scale']),
        'beta': np.asarray(params['bias']),
        'moving_mean': np.asarray(stats['mean']),
        'moving_variance': np.asarray(stats['var']),
    }


def _to_variables(path, layers, config):
    """The tensors of a file as our variables, each checked against the shape that it must have."""
    shapes = predictors.shapes(config)
    expected = _layers(config)
    if isinstance(config, SliceSelectionConfig):
        named = list(zip(expected, layers.items(), strict=False))
    else:
        named = [(e, (e.keras_name, layers.get(e.keras_name, {}))) for e in expected]
    variables = {'params': {}, 'batch_stats': {}}
    bias = 0.0  # of the convolution before, where it has no parameter of ours
    for layer, (name, found) in named:
        wanted = _tensors_of(layer, _zeros(shapes))
        for tensor, like in wanted.items():
            shape = found[tensor].shape if tensor in found else 'nothing'
            if shape != like.shape:
                raise InputError(
                    f'{path}: layer {name} does not fit: expected {tensor} of shape {like.shape}, '
                    f'found {shape}'
                )
        if layer.is_norm:
            _put(variables['params'], layer.path, scale=found['gamma'], bias=found['beta'])
            mean = found['moving_mean'] - bias
            _put(variables['batch_stats'], layer.path, mean=mean, var=found['moving_variance'])
            bias = 0.0
        elif 'bias' in _at(shapes['params'], layer.path):
            _put(variables['params'], layer.path, kernel=found['kernel'], bias=found['bias'])
        else:
            _put(variables['params'], layer.path, kernel=found['kernel'])
            bias = found['bias']
    if len(layers) != len(expected):
        extra = set(layers) - {name for _, (name, _) in named}
        raise InputError(
            f'{path}: {len(layers)} layers with weights, but this network has {len(expected)}'
            f'{f"; {min(extra)} is one too many" if extra else ""}'
        )
    return variables


def _zeros(shapes):
    """Arrays of these shapes that take no memory."""
    if isinstance(shapes, dict):
        return {name: _zeros(value) for name, value in shapes.items()}
    return np.broadcast_to(np.float32(0), shapes.shape)


def _at(tree, path):
    for name in path:
        tree = tree[name]
    return tree


def _put(tree, path, **tensors):
    for name in path:
        tree = tree.setdefault(name, {})
    tree.update(tensors)
