"""Keras files: the layers with weights, and the activations of the architecture if it is stored.

Keras 2 keeps the weights of each layer under its name, at the root of an HDF5 file or, next to the
architecture, in its group `model_weights`. Keras 3 numbers them: `.weights.h5`, on its own or
packed with the architecture into a zip file, `.keras`. Nothing in a file is executed.
"""

import io
import itertools
import json
import math
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import h5py
import numpy as np

from bodycomp_jax.errors import InputError
from bodycomp_jax.models.layers.norm import EPSILON

HDF5, ZIP, GIT_LFS = b'\x89HDF\r\n\x1a\n', b'PK\x03\x04', b'version https://git-lfs'  # first bytes
KERAS_VERSION = '2.15.0'  # whose layout `write` follows
TENSORS = {  # of each kind of layer, in the names and the order of Keras
    'conv': ('kernel', 'bias'),
    'norm': ('gamma', 'beta', 'moving_mean', 'moving_variance'),
    'dense': ('kernel', 'bias'),
}


class Layer(NamedTuple):
    """A layer with weights.

    Attributes:
      name: in the file.
      kind: a key of `TENSORS`, or None for any other kind.
      tensors: {Keras's name: float32 array}.
    """

    name: str
    kind: str | None
    tensors: dict[str, np.ndarray]


class KerasFile(NamedTuple):
    """The content of a file.

    Attributes:
      path: for messages.
      layers: with weights, in no particular order.
      activations: [(layer, Keras's name of its activation)] in order, without linear ones; None
        if the file has no architecture.
    """

    path: str
    layers: list[Layer]
    activations: list[tuple[str, str]] | None


def read(path: str) -> KerasFile:
    """Reads a Keras 2 or 3 file, with or without the architecture.

    Raises InputError if the file is unreadable or not from Keras, and for architectures with code
    (Lambda) or with batch norms of another epsilon than `EPSILON`.
    """
    try:
        with open(path, 'rb') as stream:
            head = stream.read(len(GIT_LFS))
    except OSError as error:
        raise InputError(f'{path}: cannot read this file ({error.strerror})') from error
    if head.startswith(GIT_LFS):
        raise InputError(
            f'{path}: this is a git-lfs pointer, the file itself was not fetched; run git lfs pull '
            'in its repository'
        )
    if not head.startswith((HDF5, ZIP)):
        raise InputError(
            f'{path}: this is not a Keras file (HDF5 or .keras); give a file written by '
            'save_weights or save, or a run folder'
        )
    try:
        return _read_zip(path) if head.startswith(ZIP) else _read_hdf5(path)
    except InputError:
        raise
    except Exception as error:  # h5py raises many kinds of errors for corrupt files
        message = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise InputError(
            f'{path}: this file is truncated or corrupt ({message}); copy it again'
        ) from error


def write(path: str, layers: dict[str, dict[str, Any]]) -> None:
    """Writes a Keras 2 weights file.

    Args:
      path: of the file.
      layers: {name: {Keras's name of a tensor: array}}, in the order in which Keras makes them.
    """
    with h5py.File(path, 'w') as file:
        # Names are bytes, as early versions of Keras 2 require.
        file.attrs['backend'] = np.bytes_('tensorflow')
        file.attrs['keras_version'] = np.bytes_(KERAS_VERSION)
        file.attrs['layer_names'] = np.array(list(layers), np.bytes_)
        for layer, tensors in layers.items():
            group = file.create_group(layer)
            arrays = {f'{layer}/{name}:0': array for name, array in tensors.items()}
            group.attrs['weight_names'] = np.array(list(arrays), np.bytes_)
            for name, array in arrays.items():
                group.create_dataset(name, data=np.asarray(array, np.float32))


def _read_hdf5(path: str) -> KerasFile:
    with h5py.File(path) as file:
        architecture = file.attrs.get('model_config')
        return KerasFile(path, _layers(path, file), _activations(path, architecture))


def _read_zip(path: str) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        if not {'config.json', 'model.weights.h5'} <= set(archive.namelist()):
            raise InputError(
                f'{path}: this zip file is not from Keras; give a .keras file, an HDF5 file or a '
                'run folder'
            )
        architecture = archive.read('config.json')
        weights = io.BytesIO(archive.read('model.weights.h5'))
    with h5py.File(weights) as file:
        return KerasFile(path, _layers(path, file), _activations(path, architecture))


def _layers(path: str, file: h5py.File) -> list[Layer]:
    group = file.get('model_weights', file)
    if {'layer_names', 'layer_names0'} & set(group.attrs):
        return list(_keras_2_layers(group))
    if 'layers' in file:
        return list(_keras_3_layers(file['layers']))
    raise InputError(
        f'{path}: this HDF5 file has no layers where Keras 2 or 3 stores them; load it with the '
        "version of Keras that wrote it and save it again with model.save('network.h5')"
    )


def _keras_2_layers(group: h5py.Group) -> Iterator[Layer]:
    for name in _names(group.attrs, 'layer_names'):
        owners = defaultdict(list)  # one, or several if the layer is itself a model
        for weight in _names(group[name].attrs, 'weight_names'):
            owner, _, tensor = weight.rpartition('/')
            owners[owner].append((tensor, group[name][weight]))
        for owner, weights in owners.items():
            yield _layer(name if len(owners) == 1 else owner.rpartition('/')[2], weights)


def _keras_3_layers(group: h5py.Group) -> Iterator[Layer]:
    for key, layer in group.items():
        values = layer.get('vars', ())
        names = TENSORS['norm' if len(values) == 4 else 'conv']
        if len(values):
            weights = [(name, values[str(i)]) for i, name in enumerate(names)]
            yield _layer(values.attrs.get('name', key), weights)


def _names(attributes: h5py.AttributeManager, name: str) -> list[str]:
    """A list of names, which Keras splits into name0, name1, ... if it is long."""
    numbered = (f'{name}{i}' for i in itertools.count())
    chunks = list(itertools.takewhile(lambda chunk: chunk in attributes, numbered)) or [name]
    names = itertools.chain.from_iterable(attributes[chunk] for chunk in chunks)
    return [each.decode() if isinstance(each, bytes) else str(each) for each in names]


def _layer(name: str, weights: list[tuple[str, h5py.Dataset]]) -> Layer:
    """A `Layer` from [(name of a tensor, such as kernel:0, its values)]."""
    tensors = {re.sub(r'(_\d+)?(:\d+)?$', '', tensor): _array(values) for tensor, values in weights}
    kind = 'norm' if 'gamma' in tensors else None
    if 'kernel' in tensors:
        kind = {4: 'conv', 2: 'dense'}.get(tensors['kernel'].ndim, kind)
    return Layer(name, kind, tensors)


def _array(values: h5py.Dataset) -> np.ndarray:
    if values.dtype.kind != 'f':
        raise TypeError(f'{values.name} has the dtype {values.dtype}')
    return np.asarray(values, np.float32)


def _activations(path: str, architecture: str | bytes | None) -> list[tuple[str, str]] | None:
    """The activations in the JSON text of an architecture. Raises InputError as `read`."""
    if architecture is None:
        return None
    activations = []
    for layer in _described_layers(json.loads(architecture)):
        options = layer['config']
        name = options.get('name', layer['class_name'])
        if layer['class_name'] == 'Lambda':
            raise InputError(
                f'{path}: layer {name} is a Lambda, and code in a file is never executed; give a '
                'file that save_weights wrote of the network without this layer'
            )
        epsilon = options.get('epsilon', EPSILON)
        if layer['class_name'] == 'BatchNormalization' and not math.isclose(epsilon, EPSILON):
            raise InputError(
                f'{path}: layer {name} has epsilon {epsilon}; only {EPSILON}, the epsilon of the '
                'reference, can be loaded'
            )
        if options.get('activation', 'linear') != 'linear':
            activations.append((name, str(options['activation'])))
    return activations


def _described_layers(model: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The layers in the description of a model, including those of models inside it."""
    layers = model['config']
    for layer in layers['layers'] if isinstance(layers, dict) else layers:
        yield layer
        if 'layers' in layer['config']:
            yield from _described_layers(layer)
