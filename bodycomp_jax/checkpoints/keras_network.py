"""Networks of the reference system: from a Keras file to a config and variables, and back."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from bodycomp_jax.checkpoints import keras_file
from bodycomp_jax.checkpoints.keras_file import KerasFile, Layer
from bodycomp_jax.checkpoints.keras_reader import TENSORS
from bodycomp_jax.config import (
    DenseNetConfig,
    NetworkConfig,
    UNetConfig,
    as_flag,
    contradiction,
    from_values,
    refuse_unknown,
)
from bodycomp_jax.errors import InputError
from bodycomp_jax.models.build import variable_shapes

ACTIVATIONS = {  # Keras's names to ours; its gelu and leaky_relu differ from ours
    'relu': 'relu', 'elu': 'elu', 'selu': 'selu', 'swish': 'silu', 'silu': 'silu',
    'softplus': 'softplus', 'tanh': 'tanh', 'sigmoid': 'sigmoid',
}  # fmt: skip
LEAVES = {  # Keras's name of a tensor to our collection and name
    'kernel': ('params', 'kernel'),
    'bias': ('params', 'bias'),
    'gamma': ('params', 'scale'),
    'beta': ('params', 'bias'),
    'moving_mean': ('batch_stats', 'mean'),
    'moving_variance': ('batch_stats', 'var'),
}


class Part(NamedTuple):
    """A layer with weights of a network.

    Attributes:
      name: in Keras. It numbers the layers of a DenseNet across all networks of a process; here
        they have the numbers of the first network.
      path: of its parameters in the variables.
      kind: a key of `keras_reader.TENSORS`.
      bias_in_norm: whether our layer has no bias, because the batch norm after it cancels it.
    """

    name: str
    path: tuple[str, ...]
    kind: str
    bias_in_norm: bool = False


class Layout(NamedTuple):
    """How Keras files hold one kind of network.

    Attributes:
      config_class: of the network.
      first_conv: for messages.
      layers: of a file, as `{name of a Part: Layer}`; layers that match no part keep their name.
      options: of (file, such layers, overrides), the `{option: value}` that the file determines.
        Where layers are missing these are guesses, which the remaining layers contradict.
      parts: of a config, in the order in which Keras makes them.
    """

    config_class: type[NetworkConfig]
    first_conv: str
    layers: Callable[[KerasFile], dict[str, Layer]]
    options: Callable[[KerasFile, dict[str, Layer], dict[str, Any]], dict[str, Any]]
    parts: Callable[[Any], list[Part]]


def read(
    path: str, overrides: dict[str, Any], kind: str | None = None
) -> tuple[NetworkConfig, dict[str, Any]]:
    """Reads a network of the reference system.

    Args:
      path: a Keras file, with or without the architecture.
      overrides: `{option: value}` of the network. Options that the file determines must have the
        same value; those that neither determines have their default, except that several levels
        are named level_0, level_1, ...
      kind: the kind of network expected; None for any.

    Returns:
      (config, variables as numpy arrays).

    Raises InputError if the file cannot be read, holds another network or non-finite weights.
    """
    file = keras_file.read(path)
    layout = _layout(file, kind)
    layers = layout.layers(file)
    overrides = _with_levels(file, layout, layers, overrides)
    determined = layout.options(file, layers, overrides)
    try:
        config = from_values(layout.config_class, determined | overrides)
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    mismatch = _first_mismatch(config, layers)
    conflict = contradiction(determined, overrides)
    if conflict:
        detail = f': {mismatch}' if mismatch else ''
        raise InputError(f'{path}: {conflict}{detail}; give the same value')
    if mismatch:
        raise InputError(
            f'{path}: {mismatch}; give a file of a {config.kind} network of the reference'
        )
    _refuse_non_finite(file)
    return config, _variables(config, layers)


def read_options(path: str, kind: str | None = None) -> dict[str, Any]:
    """The `{option: value}` of the network that a Keras file determines.

    Raises InputError if the file cannot be read or holds no network of this kind.
    """
    file = keras_file.read(path)
    layout = _layout(file, kind)
    return layout.options(file, layout.layers(file), {})


def write(path: str, config: NetworkConfig, variables: dict[str, Any]) -> None:
    """Writes a Keras 2 weights file that the reference loads into its network of this config.

    Biases before a batch norm, which our network lacks, are 0.
    """
    keras_file.write(path, _tensors(config, variables))


def _layout(file: KerasFile, kind: str | None) -> Layout:
    """The layout of the network in a file. Raises InputError unless it is of this kind."""
    kernels = [(layer.name, layer.tensors['kernel'].shape) for layer in _in_order(file, 'conv')]
    found = None
    if any(re.match(r'(de)?compression_', layer.name) for layer in file.layers):
        found = UNetConfig.kind
    elif kernels and kernels[0][1][:3] == (7, 7, 1):
        found = DenseNetConfig.kind
    if found and kind in (None, found):
        return LAYOUTS[found]
    network = f'a {found} network' if found else 'not a network of the reference'
    first = '{} with kernel {}'.format(*kernels[0]) if kernels else 'missing'
    expected = ' or '.join(LAYOUTS[each].first_conv for each in LAYOUTS if kind in (None, each))
    raise InputError(
        f'{file.path}: this is {network}: its first convolution is {first}, expected {expected}; '
        f'give a file of a {kind or " or ".join(LAYOUTS)} network'
    )


def _in_order(file: KerasFile, kind: str) -> list[Layer]:
    """The layers of a kind, in the order of their numbers."""
    layers = [layer for layer in file.layers if layer.kind == kind]
    return sorted(layers, key=lambda layer: (layer.name != 'initial_conv2D', _number(layer.name)))


def _number(name: str) -> int:
    """The number that Keras appends to make a name unique: 3 of conv2d_3, 0 of conv2d."""
    _, underscore, digits = name.rpartition('_')
    return int(digits) if underscore and digits.isdecimal() else 0


def _with_levels(
    file: KerasFile, layout: Layout, layers: dict[str, Layer], overrides: dict[str, Any]
) -> dict[str, Any]:
    """The overrides, checked, with a name for each level of a network with several."""
    refuse_unknown(file.path, layout.config_class, overrides)
    if layout.config_class is not DenseNetConfig or 'dense' not in layers:
        return overrides
    outputs = _width(layers['dense'])
    if 'levels' not in overrides:
        several = {'levels': tuple(f'level_{i}' for i in range(outputs))} if outputs > 1 else {}
        return several | overrides
    levels = overrides['levels']
    if len(levels) != outputs:
        raise InputError(
            f'{file.path}: invalid {as_flag("levels", levels)}: name as many levels as the network '
            f'has outputs ({outputs}), in their order'
        )
    return overrides


def _first_mismatch(config: NetworkConfig, layers: dict[str, Layer]) -> str | None:
    """The first difference between layers and the network of a config, or None."""
    expected = _tensors(config, variable_shapes(config))
    for part, tensors in expected.items():
        if part not in layers:
            shape = next(iter(tensors.values())).shape
            return f'layer {part} is missing, expected with shape {shape}'
        layer = layers[part]
        for name, like in tensors.items():
            tensor = layer.tensors.get(name)
            if tensor is None or tensor.shape != like.shape:
                found = 'is missing' if tensor is None else f'has shape {tensor.shape}'
                return f'the {name} of layer {layer.name} {found}, expected {like.shape}'
    extra = next((layer.name for name, layer in layers.items() if name not in expected), None)
    return f'unexpected layer {extra}' if extra else None


def _refuse_non_finite(file: KerasFile) -> None:
    for layer in file.layers:
        for name, values in layer.tensors.items():
            if not np.isfinite(values).all():
                raise InputError(
                    f'{file.path}: the {name} of layer {layer.name} has non-finite values; give a '
                    'file saved before the training diverged'
                )


def _tensors(config: NetworkConfig, variables: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{name of a part: {Keras's name: array}} from our variables, or from their shapes."""
    leaves = flatten_dict(variables)
    tensors = {}
    for part in LAYOUTS[config.kind].parts(config):
        if part.bias_in_norm:
            channels = leaves[_leaf(part, 'kernel')].shape[-1]
            leaves[_leaf(part, 'bias')] = np.zeros(channels, np.float32)
        tensors[part.name] = {name: leaves[_leaf(part, name)] for name in TENSORS[part.kind]}
    return tensors


def _variables(config: NetworkConfig, layers: dict[str, Layer]) -> dict[str, Any]:
    """Our variables from layers; biases that ours lack are subtracted from the means after them."""
    leaves: dict[tuple[str, ...], np.ndarray] = {}
    bias = np.zeros((), np.float32)
    for part in LAYOUTS[config.kind].parts(config):
        tensors = {name: layers[part.name].tensors[name] for name in TENSORS[part.kind]}
        if part.kind == 'norm':
            tensors['moving_mean'] = tensors['moving_mean'] - bias
        elif part.bias_in_norm:
            bias = tensors.pop('bias')
        leaves |= {_leaf(part, name): array for name, array in tensors.items()}
    return {'batch_stats': {}, **unflatten_dict(leaves)}


def _leaf(part: Part, tensor: str) -> tuple[str, ...]:
    """The path in our variables of a tensor of a part."""
    collection, name = LEAVES[tensor]
    return collection, *part.path, name


def _activation(file: KerasFile, fixed: list[bool], output: str) -> dict[str, str]:
    """`{'activation': its name}`, or {} if the file has no architecture.

    Args:
      file: with the activations.
      fixed: for each activation before the output, whether it always is ReLU.
      output: the activation of the output.

    Raises InputError if the activations are not those of such a network.
    """
    if file.activations is None:
        return {}
    names = [name for _, name in file.activations]
    own = names[-2] if len(names) > 1 else 'none'
    if own not in ACTIVATIONS:
        raise InputError(
            f'{file.path}: unsupported activation {own}; only networks with '
            f'{", ".join(ACTIVATIONS)} can be loaded'
        )
    expected = [*('relu' if is_relu else own for is_relu in fixed), output]
    pairs = itertools.zip_longest(file.activations, expected, fillvalue=('none', 'none'))
    for (layer, name), wanted in pairs:
        if name != wanted:
            raise InputError(
                f'{file.path}: layer {layer} has the activation {name}, expected {wanted} as in '
                'the reference; a network that computes something else cannot be loaded'
            )
    return {'activation': ACTIVATIONS[own]}


def _unet_options(
    file: KerasFile, layers: dict[str, Layer], overrides: dict[str, Any]
) -> dict[str, Any]:
    channels: dict[str, int] = {}  # of each level
    for name, layer in layers.items():
        level = re.match(r'((de)?compression_(\d+|center))_', name)
        if level:
            channels.setdefault(level[1], _width(layer))
    names = (f'compression_{i}' for i in itertools.count())
    down = [channels[name] for name in itertools.takewhile(channels.__contains__, names)]
    up = [channels.get(f'decompression_{i}', 1) for i in range(len(down))]
    convs = Counter(re.sub(r'_conv_\d+$', '', name) for name in layers if '_conv_' in name)
    num_convs = max(convs.values(), default=1)  # of each level
    found = {
        'compression_channels': (*down, channels.get('compression_center', 1)),
        'decompression_channels': tuple(up),
        'num_convs': num_convs,
        'pixel_shuffle': 1,  # another has other kernels; `network_size` may be any
    }
    if 'final_conv' in layers:
        classes = _width(layers['final_conv'])
        if classes not in (3, 4):
            raise InputError(
                f'{file.path}: layer final_conv has {classes} classes; only networks of 4, or of 3 '
                'for thoracic models, can be loaded'
            )
        found['thoracic_model'] = classes == 3
    fixed = [False] * num_convs * (2 * len(down) + 1)
    return found | _activation(file, fixed, 'softmax')


def _width(layer: Layer) -> int:
    """Output channels of a layer."""
    return next((values.shape[-1] for values in layer.tensors.values() if values.ndim), 1)


def _unet_parts(config: UNetConfig) -> list[Part]:
    up = range(len(config.decompression_channels))
    levels = [
        *(f'compression_{i}' for i in up),
        'compression_center',
        *(f'decompression_{i}' for i in up),
    ]
    parts = [
        Part(f'{level}_{kind}_{j}', (level, f'{kind}_{j}'), kind, bias_in_norm=kind == 'conv')
        for level in levels
        for j in range(config.num_convs)
        for kind in ('conv', 'norm')
    ]
    return [*parts, Part('final_conv', ('final_conv',), 'conv')]


def _densenet_layers(file: KerasFile) -> dict[str, Layer]:
    parts = {
        _numbered(kind, n): layer
        for kind in TENSORS
        for n, layer in enumerate(_in_order(file, kind))
    }
    return parts | {layer.name: layer for layer in file.layers if layer.kind is None}


def _numbered(kind: str, n: int) -> str:
    """Keras's name of the n-th layer of a kind in the first DenseNet of a process."""
    if kind == 'conv' and n == 0:
        return 'initial_conv2D'
    name = {'conv': 'conv2d', 'norm': 'batch_normalization', 'dense': 'dense'}[kind]
    n -= kind == 'conv'
    return f'{name}_{n}' if n else name


def _densenet_options(
    file: KerasFile, layers: dict[str, Layer], overrides: dict[str, Any]
) -> dict[str, Any]:
    kernels = [layer.tensors['kernel'].shape for layer in _in_order(file, 'conv')]
    sizes = [kernel[0] for kernel in kernels]
    pairs = itertools.takewhile(lambda i: sizes[i : i + 2] == [1, 3], range(1, len(sizes), 2))
    per_block = max(1, len(list(pairs)))
    step = 2 * per_block + 1  # a block and the transition after it
    blocks = math.ceil(len(kernels) / step)
    growth = kernels[2][-1] if len(kernels) > 2 else 1
    transitions = [
        (first[2] + per_block * growth, transition[-1])
        for first, transition in zip(kernels[1::step], kernels[step::step], strict=False)
    ]
    found = {
        'nb_layers_per_block': per_block,
        'nb_blocks': blocks,
        'nb_initial_filters': kernels[0][-1],
        'growth_rate': growth,
        'omit_norm': not _in_order(file, 'norm'),
    }
    if transitions:
        found['compression_rate'] = _compression_rate(transitions, overrides)
    block = 2 * per_block
    fixed = ([True] * block + [False]) * (blocks - 1) + [False] * (block + 1)
    return found | _activation(file, fixed, 'sigmoid')


def _compression_rate(transitions: list[tuple[int, int]], overrides: dict[str, Any]) -> float:
    """The simplest rate that explains each of [(channels counted, channels kept)]."""
    default = DenseNetConfig().compression_rate
    rounded = (round(n / 10**d, d) for d in range(1, 5) for n in range(1, 10**d + 1))
    for rate in itertools.chain((overrides.get('compression_rate', default), default), rounded):
        if all(int(counted * rate) == kept for counted, kept in transitions):
            return rate
    return default


def _densenet_parts(config: DenseNetConfig) -> list[Part]:
    ours = ['initial_conv']
    for i in range(config.nb_blocks):
        ours += [
            f'block_{i}_layer_{j}_{kind}_{k}'
            for j in range(config.nb_layers_per_block)
            for k in range(2)
            for kind in ('norm', 'conv')
        ]
        last = i == config.nb_blocks - 1
        ours += ['final_norm'] if last else [f'transition_{i}_norm', f'transition_{i}_conv']
    ours.append('dense')
    parts, counts = [], Counter[str]()
    for name in ours:
        kind = next(kind for kind in TENSORS if kind in name)
        if not (kind == 'norm' and config.omit_norm):
            parts.append(Part(_numbered(kind, counts[kind]), (name,), kind))
            counts[kind] += 1
    return parts


LAYOUTS = {
    UNetConfig.kind: Layout(
        config_class=UNetConfig,
        first_conv='compression_0_conv_0 with kernel (3, 3, 1, ...)',
        layers=lambda file: {layer.name: layer for layer in file.layers},
        options=_unet_options,
        parts=_unet_parts,
    ),
    DenseNetConfig.kind: Layout(
        config_class=DenseNetConfig,
        first_conv='initial_conv2D with kernel (7, 7, 1, ...)',
        layers=_densenet_layers,
        options=_densenet_options,
        parts=_densenet_parts,
    ),
}
