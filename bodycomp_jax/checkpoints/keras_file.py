"""Keras files: the layers with weights, and the activations of the architecture if it is stored.

Keras 2 keeps the weights of each layer under its name, at the root of an HDF5 file or, next to the
architecture, in its group `model_weights`. Keras 3 numbers them: `.weights.h5`, on its own or
packed with the architecture into a zip file, `.keras`. Nothing in a file is executed or followed:
a child process, `keras_reader`, reads it.
"""

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
from typing import Any, NamedTuple

import h5py
import numpy as np

from bodycomp_jax.checkpoints import keras_reader
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.models.layers.norm import EPSILON
from bodycomp_jax.runtime import files
from bodycomp_jax.runtime.file_formats import START_BYTES, other_format

HDF5 = b'\x89HDF\r\n\x1a\n'  # first bytes
KERAS_VERSION = '2.15.0'  # whose layout `write` follows
READER = (  # imports from where this process does, whatever its environment says
    'import json, sys; sys.path[:] = json.loads(sys.argv[1]); '
    'from bodycomp_jax.checkpoints import keras_reader; keras_reader.main(*sys.argv[2:])'
)
SECONDS, SECONDS_OF_COMPUTING = 60, 5  # of the reader, for any file
BYTES_PER_SECOND = 1 << 20  # of a slow network drive
BYTES_PER_SECOND_OF_COMPUTING = 5 << 20  # of a slow processor that unpacks them


class Layer(NamedTuple):
    """A layer with weights.

    Attributes:
      name: in the file.
      kind: a key of `keras_reader.TENSORS`, or None for any other kind.
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

    Raises InputError if the file is unreadable or not from Keras, for links in it to other places,
    and for architectures with code (Lambda) or with batch norms of another epsilon than `EPSILON`;
    RunError if no process can be started that reads it.
    """
    fd = files.open_regular_file(path)
    try:
        _refuse_other_formats(path, os.pread(fd, START_BYTES, 0))
        document, content = _answer(path, fd)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({files.explained(error, "")})') from error
    finally:
        os.close(fd)
    try:
        layers = _layers(path, document['weights'], content)
        architecture = document['layers']
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    return KerasFile(path, layers, architecture and _activations(path, architecture))


def write(path: str, layers: dict[str, dict[str, Any]]) -> None:
    """Writes a Keras 2 weights file.

    Args:
      path: of the file.
      layers: {name: {Keras's name of a tensor: array}}, in the order in which Keras makes them.

    Raises OSError.
    """
    content = io.BytesIO()  # libhdf5 crashes on a full disk
    with h5py.File(content, 'w') as file:
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
    with files.replacing(path, binary=True) as target:
        target.write(content.getbuffer())


def _refuse_other_formats(path: str, start: bytes) -> None:
    if not start.startswith((HDF5, keras_reader.ZIP)):
        remedy = 'give a file written by save_weights or save, or a run folder'
        found = other_format(start, remedy)
        reason = f', but {found}' if found else f'; {remedy}'
        raise InputError(f'{path}: not a Keras file (HDF5 or .keras){reason}')


def _answer(path: str, fd: int) -> tuple[dict[str, Any], memoryview]:
    """The document and the weights that the reader sends of a file.

    Raises InputError, RunError, and OSError if the file cannot be read at the moment.
    """
    size = os.fstat(fd).st_size
    computing = SECONDS_OF_COMPUTING + size // BYTES_PER_SECOND_OF_COMPUTING
    seconds = SECONDS + size // BYTES_PER_SECOND
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = json.dumps([*(path for path in sys.path if isinstance(path, str)), package])
    try:
        reader = subprocess.run(
            [sys.executable, '-I', '-c', READER, paths, str(seconds), str(computing)],
            stdin=fd,
            capture_output=True,
            check=False,
            start_new_session=True,  # Ctrl-C ends it through this process only
            env=os.environ | {'OPENBLAS_NUM_THREADS': '1'},
        )
    except OSError as error:
        raise RunError(
            f'{path}: no process can be started to read it ({files.explained(error, "")})'
        ) from error
    if reader.returncode < 0:
        raise InputError(f'{path}: {_why_ended(-reader.returncode, seconds, computing)}')
    if reader.returncode > 0:
        reason = _plain(reader.stderr.decode(errors='replace').strip().rpartition('\n')[2])
        raise RunError(
            f'{path}: the process that reads it cannot start ({reason}); install the packages of '
            'this project again, or allow it more memory, files and processes (ulimit -a)'
        )
    start = keras_reader.LENGTH
    end = start + int.from_bytes(reader.stdout[:start], 'little')
    document = json.loads(reader.stdout[start:end])
    if 'errno' in document:
        raise OSError(document['errno'], os.strerror(document['errno']))
    if 'refused' in document:
        raise InputError(f'{path}: {_plain(document["refused"])}')
    if 'damaged' in document:
        raise _damaged(path, document['damaged'])
    return document, memoryview(reader.stdout)[end:]


def _why_ended(number: int, seconds: int, computing: int) -> str:
    """What is wrong with a file whose reader a signal ended."""
    if number == signal.SIGALRM:
        return f'not read within {seconds} s; copy it to a faster disk'
    if number == signal.SIGXCPU:
        return f'not read within {computing} s of computing, so it is damaged; copy it again'
    return (
        f'the process that reads it was ended by {signal.Signals(number).name}; free some memory, '
        'and if that does not help the file is damaged: copy it again'
    )


def _damaged(path: str, reason: str) -> InputError:
    return InputError(
        f'{path}: this file is truncated or corrupt ({_plain(reason)}), or another program is '
        'still writing it; copy it again'
    )


def _plain(text: str) -> str:
    """The first line of a text from elsewhere, without control characters."""
    return ascii(text.strip().partition('\n')[0][:300])[1:-1]


def _layers(
    path: str, weights: list[tuple[str, str, list[int]]], content: memoryview
) -> list[Layer]:
    """The layers with [(layer, tensor, shape)], whose values follow each other in the content.

    Raises InputError if a tensor is there twice, ValueError if weights and content do not match.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor, shape in weights:
        stop = keras_reader.ITEM * math.prod(shape)
        array = np.frombuffer(content[:stop], '<f4').reshape(shape).copy()
        content = content[stop:]
        tensors = layers.setdefault(name, {})
        key = re.sub(r'(_\d+)?(:\d+)?$', '', tensor)
        if key in tensors:
            raise InputError(
                f'{path}: the {key} of layer {name} is listed twice; save the network again with '
                'Keras'
            )
        tensors[key] = array
    if content:
        raise ValueError('it has more weights than it lists')
    return [Layer(name, _kind(tensors), tensors) for name, tensors in layers.items()]


def _kind(tensors: dict[str, np.ndarray]) -> str | None:
    kind = 'norm' if 'gamma' in tensors else None
    if 'kernel' in tensors:
        kind = {4: 'conv', 2: 'dense'}.get(tensors['kernel'].ndim, kind)
    return kind


def _activations(
    path: str, layers: list[tuple[str, str, str, float | None]]
) -> list[tuple[str, str]]:
    """[(layer, activation)] of [(class, layer, activation, epsilon)].

    Raises InputError as `read`.
    """
    activations = []
    for class_name, layer, activation, epsilon in layers:
        name = _plain(layer)
        if class_name == 'Lambda':
            raise InputError(
                f'{path}: layer {name} is a Lambda, and code in a file is never executed; give a '
                'file that save_weights wrote of the network without this layer'
            )
        other = epsilon is not None and not math.isclose(epsilon, EPSILON)
        if class_name == 'BatchNormalization' and other:
            raise InputError(
                f'{path}: layer {name} has epsilon {epsilon}; only {EPSILON}, the epsilon of the '
                'reference, can be loaded'
            )
        if activation != 'linear':
            activations.append((name, _plain(activation)))
    return activations
