"""Reads a Keras file in a separate process, with limits, and sends what it holds as plain data.

`keras_file.read` runs `main` in a child: on a damaged or hostile file libhdf5 crashes, runs for
ever or fills the memory, and follows links into any other file. The file is the standard input; the
standard output gets the length of a JSON document (8 bytes), the document, then the weights.
"""

import codecs
import io
import itertools
import json
import math
import os
import resource
import signal
import sys
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import h5py
import numpy as np

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import DISK_ERRORS

TENSORS = {  # of each kind of layer, in the names and the order of Keras
    'conv': ('kernel', 'bias'),
    'norm': ('gamma', 'beta', 'moving_mean', 'moving_variance'),
    'dense': ('kernel', 'bias'),
}
ZIP = b'PK\x03\x04'  # first bytes
ITEM = 4  # bytes of a float32
CODECS = 'ascii', 'cp437'  # which h5py and zipfile import when they need them
LENGTH = 8  # bytes of the length of the document
MAX_NAMES = 5_000  # of layers, or of the weights of a layer; a DenseNet-264 has about 1,000 layers
MAX_NAME = 500  # characters
MAX_TEXT = 16 << 20  # bytes of an architecture
MAX_SMALL = 64 << 20  # bytes of weights in any file, however small
MAX_RATIO = 20  # of the bytes of weights to the size of their file
OWN_MEMORY = 1 << 30  # bytes for Python, its modules and the architecture


class Weight(NamedTuple):
    """A weight before it is read.

    Attributes:
      layer: its name.
      tensor: its name in the layer, such as kernel:0.
      values: where it is in the file.
    """

    layer: str
    tensor: str
    values: h5py.Dataset


def max_bytes(size: int) -> int:
    """The most bytes of weights that are read from a file of this size."""
    return MAX_SMALL + MAX_RATIO * size


def main(seconds: str, seconds_of_computing: str) -> None:
    """Sends what the standard input holds, or why it is refused.

    The process ends by a signal after so many seconds, or so many seconds of computing.
    """
    signal.alarm(int(seconds))
    size = os.fstat(0).st_size
    computing = math.ceil(time.process_time()) + int(seconds_of_computing)
    _limit(resource.RLIMIT_CPU, computing, computing + 1)  # SIGXCPU comes before SIGKILL
    _limit(resource.RLIMIT_AS, OWN_MEMORY + 4 * max_bytes(size))
    for codec in CODECS:
        codecs.lookup(codec)
    _limit(resource.RLIMIT_NOFILE, 0)  # no other file, nor another module
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    with open(0, 'rb', closefd=False) as stream:
        document, arrays = answer(stream, size)
    text = json.dumps(document).encode()
    with open(1, 'wb', closefd=False) as output:
        output.write(len(text).to_bytes(LENGTH, 'little') + text)
        for array in arrays:
            output.write(array.tobytes())
    os._exit(0)  # libhdf5 would tidy up a damaged file


def answer(stream: io.BufferedIOBase, size: int) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What a Keras file holds, or why there is nothing.

    Args:
      stream: the file.
      size: of the file in bytes.

    Returns:
      ({'weights': [(layer, tensor, shape)], 'layers': those of the architecture or None},
      the weights as float32 arrays), or ({'refused': a sentence}, []), ({'damaged': a reason}, [])
      or ({'errno': what the disk says}, []).
    """
    try:
        return _contents(stream, size)
    except InputError as error:
        return {'refused': str(error)}, []
    except MemoryError:
        return {'refused': 'it needs more memory than any sound file of its size'}, []
    except Exception as error:  # h5py raises many kinds of errors for damaged files
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return {'errno': error.errno}, []
        return {'damaged': str(error) or type(error).__name__}, []


def _contents(stream: io.BufferedIOBase, size: int) -> tuple[dict[str, Any], list[np.ndarray]]:
    architecture = None
    is_zip = stream.read(len(ZIP)) == ZIP
    if is_zip:
        architecture, stream = _unpacked(stream, size)
    with h5py.File(stream, 'r') as file:
        if not is_zip and 'model_config' in file.attrs:
            architecture = _text(file.attrs, 'model_config')
        layers = None if architecture is None else _described_layers(architecture)
        weights = list(_weights(file))
        _refuse_large(weights, size)
        arrays = [weight.values.astype('<f4')[()] for weight in weights]
    shapes = [(weight.layer, weight.tensor, weight.values.shape) for weight in weights]
    return {'weights': shapes, 'layers': layers}, arrays


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Lowers the limits of this process for a kind of resource."""
    _, most = resource.getrlimit(kind)
    most = sys.maxsize if most == resource.RLIM_INFINITY else most
    resource.setrlimit(kind, (min(soft, most), min(hard or soft, most)))


def _unpacked(stream: io.BufferedIOBase, size: int) -> tuple[bytes, io.BytesIO]:
    """The architecture and the weights in a zip file of this size."""
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        limits = {'config.json': MAX_TEXT, 'model.weights.h5': max_bytes(size)}
        if not limits.keys() <= set(names):
            raise InputError(
                'this zip file is not from Keras; give a .keras file, an HDF5 file or a run folder'
            )
        architecture, weights = (
            _member(archive, name, names.count(name), limit) for name, limit in limits.items()
        )
    return architecture, io.BytesIO(weights)


def _member(archive: zipfile.ZipFile, name: str, count: int, limit: int) -> bytes:
    info = archive.getinfo(name)
    if count > 1 or info.flag_bits & 1:
        what = 'is encrypted' if count == 1 else f'is there {count} times'
        raise InputError(f'{name} in this file {what}; save the network again with Keras')
    _refuse_more(f'{name} takes {info.file_size} bytes', info.file_size, limit)
    with archive.open(info) as member:
        content = member.read(limit + 1)
    _refuse_more(f'{name} takes more bytes than it says', len(content), limit)
    return content


def _refuse_more(what: str, value: int, limit: int) -> None:
    """Raises InputError if the value, which `what` describes, is above its limit."""
    if value > limit:
        raise InputError(
            f'{what}, more than the {limit} that are accepted in a file of this size; give the '
            'file as Keras saved it'
        )


def _refuse_large(weights: list[Weight], size: int) -> None:
    """Raises InputError if the weights are out of proportion to the size of their file."""
    values = [weight.values for weight in weights]
    unpacked = sum(
        max(ITEM, each.dtype.itemsize) * max(each.size, math.prod(each.chunks or ()))
        for each in values
    )
    _refuse_more(f'its weights take {unpacked} bytes', unpacked, max_bytes(size))


def _weights(file: h5py.File) -> Iterator[Weight]:
    group = _group(file, 'model_weights') if _has(file, 'model_weights') else file
    if 'layer_names' in group.attrs or 'layer_names0' in group.attrs:
        return _keras_2_weights(group)
    if _has(file, 'layers'):
        return _keras_3_weights(_group(file, 'layers'))
    raise InputError(
        'this HDF5 file has no layers where Keras 2 or 3 stores them; load it with the version of '
        "Keras that wrote it and save it again with model.save('network.h5')"
    )


def _keras_2_weights(group: h5py.Group) -> Iterator[Weight]:
    for name in _names(group, 'layer_names'):
        layer = _group(group, name)
        owners = defaultdict(list)  # one, or several if the layer is itself a model
        for weight in _names(layer, 'weight_names'):
            owner, _, tensor = weight.rpartition('/')
            owners[owner].append((tensor, _dataset(layer, weight)))
        for owner, tensors in owners.items():
            own_name = name if len(owners) == 1 else owner.rpartition('/')[2]
            yield from (Weight(own_name, tensor, values) for tensor, values in tensors)


def _keras_3_weights(group: h5py.Group) -> Iterator[Weight]:
    _refuse_more(f'it has {len(group)} layers', len(group), MAX_NAMES)
    for key in group:
        layer = _group(group, key)
        if not _has(layer, 'vars'):
            continue
        values = _group(layer, 'vars')
        name = _text(values.attrs, 'name').decode() if 'name' in values.attrs else key
        _refuse_more(f'layer {name[:MAX_NAME]} has {len(values)} weights', len(values), MAX_NAMES)
        names = TENSORS['norm' if len(values) == len(TENSORS['norm']) else 'conv']
        for i in range(len(values)):
            tensor = names[i] if len(values) <= len(names) else str(i)
            yield Weight(_name(name), tensor, _dataset(values, str(i)))


def _names(group: h5py.Group, name: str) -> list[str]:
    """A list of names, which Keras splits into name0, name1, ... if it is long."""
    numbered = (f'{name}{i}' for i in itertools.count())
    chunks = list(itertools.takewhile(lambda chunk: chunk in group.attrs, numbered)) or [name]
    lengths = [math.prod(group.attrs.get_id(chunk).shape or ()) for chunk in chunks]
    _refuse_more(f'it has {sum(lengths)} names in {name}', sum(lengths), MAX_NAMES)
    names = itertools.chain.from_iterable(group.attrs[chunk] for chunk in chunks)
    return [_name(each.decode() if isinstance(each, bytes) else str(each)) for each in names]


def _name(name: str) -> str:
    if not name.isprintable() or not 0 < len(name) <= MAX_NAME:
        raise InputError(
            f'it has the name {name[:40]!a} of {len(name)} characters; only printable names '
            f'of 1 to {MAX_NAME} characters can be loaded'
        )
    return name


def _text(attributes: h5py.AttributeManager, name: str) -> bytes:
    """An attribute that is one string."""
    dtype = attributes.get_id(name).dtype
    if attributes.get_id(name).shape != () or dtype.kind not in 'SO':
        raise TypeError(f'{name} is not a string')
    _refuse_more(f'{name} takes {dtype.itemsize} bytes', dtype.itemsize, MAX_TEXT)
    value = attributes[name]
    text = value if isinstance(value, bytes) else str(value).encode()
    _refuse_more(f'{name} takes {len(text)} bytes', len(text), MAX_TEXT)
    return text


def _group(group: h5py.Group, path: str) -> h5py.Group:
    found = _linked(group, path)
    if not isinstance(found, h5py.Group):
        raise TypeError(f'{path} is not a group')
    return found


def _dataset(group: h5py.Group, path: str) -> h5py.Dataset:
    """A weight that is in the file itself."""
    found = _linked(group, path)
    if not isinstance(found, h5py.Dataset):
        raise TypeError(f'{path} is not a weight')
    if found.is_virtual or found.external:
        raise _elsewhere(path)
    if found.dtype.kind != 'f':
        raise TypeError(f'{path} has the dtype {found.dtype}')
    if not found.size:
        raise ValueError(f'{path} has the shape {found.shape}')
    return found


def _linked(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """What is at a path below a group, in the file itself."""
    for name in filter(None, path.split('/')):
        if not isinstance(group, h5py.Group):
            raise TypeError(f'{path} leads through a weight')
        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise _elsewhere(path)
        group = group[name]
    return group


def _has(group: h5py.Group, name: str) -> bool:
    """Whether a group has a link of this name; unlike `in`, does not follow it."""
    return group.id.links.exists(name.encode())


def _elsewhere(path: str) -> InputError:
    return InputError(
        f'{path} is a link to another place or file, which is never followed; give a file that '
        'holds its weights itself, as Keras saves them'
    )


def _described_layers(architecture: bytes) -> list[tuple[str, str, str, float | None]]:
    """(class, name, activation, epsilon) of the layers in the JSON text of a model."""
    try:
        layers = list(itertools.islice(_described(json.loads(architecture)), MAX_NAMES + 1))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f'its architecture is not that of a Keras model: {error}') from error
    _refuse_more('the number of layers in its architecture', len(layers), MAX_NAMES)
    return layers


def _described(model: dict[str, Any]) -> Iterator[tuple[str, str, str, float | None]]:
    layers = model['config']
    for layer in layers['layers'] if isinstance(layers, dict) else layers:
        class_name, options = str(layer['class_name']), layer['config']
        epsilon = options.get('epsilon')
        yield (
            class_name,
            str(options.get('name', class_name))[:MAX_NAME],
            str(options.get('activation', 'linear'))[:MAX_NAME],
            None if epsilon is None else float(epsilon),
        )
        if 'layers' in options:
            yield from _described(layer)
