"""Networks of the reference system: Keras's files to a config and variables, and back.

Keras 2 keeps the weights of each layer under its name, at the root of an HDF5 file or, with the
architecture beside them, in its group `model_weights`. Keras 3 numbers them: `.weights.h5`, alone
or packed into a zip file, `.keras`, with the architecture. Nothing in a file is executed.
"""

import io
import itertools
import json
import math
import re
import zipfile
from collections import Counter, defaultdict
from typing import NamedTuple

import h5py
import numpy as np

from bodycomp_jax import config as configs
from bodycomp_jax.config import SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.errors import InputError
from bodycomp_jax.inference import predictors
from bodycomp_jax.models.layers.norm import EPSILON

HDF5, ZIP, GIT_LFS = b'\x89HDF\r\n\x1a\n', b'PK\x03\x04', b'version https://git-lfs'  # first bytes
KERAS_VERSION = '2.15.0'  # whose layout is written
TENSORS = {  # of each kind of layer, as Keras names and orders them
    'conv': ('kernel', 'bias'),
    'norm': ('gamma', 'beta', 'moving_mean', 'moving_variance'),
    'dense': ('kernel', 'bias'),
}
FIRST = {  # convolution of each network
    'segmentation': 'compression_0_conv_0 with (3, 3, 1, ...)',
    'slice_selection': 'initial_conv2D with (7, 7, 1, ...)',
}
ACTIVATIONS = {  # Keras's names to ours; its gelu and leaky_relu are other functions than ours
    'relu': 'relu', 'elu': 'elu', 'selu': 'selu', 'swish': 'silu', 'silu': 'silu',
    'softplus': 'softplus', 'tanh': 'tanh', 'sigmoid': 'sigmoid',
}  # fmt: skip


class Layer(NamedTuple):
    """A layer with weights, in a file."""

    name: str
    kind: str | None  # of `TENSORS`; None if it is of none of them
    tensors: dict[str, np.ndarray]


class File(NamedTuple):
    """What a file holds.

    Attributes:
      path: for messages.
      layers: a list of `Layer`, in order.
      activations: [(layer, Keras's name of its activation)], in order, without linear ones; None
        where the file does not tell the architecture.
    """

    path: str
    layers: list[Layer]
    activations: list[tuple[str, str]] | None


class Part(NamedTuple):
    """A layer with weights, of a network.

    Attributes:
      name: in Keras; in a DenseNet, whose layers are numbered, that of a first network.
      path: of its parameters in our variables.
      kind: of `TENSORS`.
      folds: whether our layer has no bias, as the moving mean of the norm after it takes it up.
    """

    name: str
    path: tuple[str, ...]
    kind: str
    folds: bool = False


def read(path, told=None, network=None):
    """Reads a network of the reference system.

    Args:
      path: a Keras file, with or without the architecture.
      told: {name: value} of config fields. What the file tells too must be the same; what neither
        tells has the config's default, and the levels, if they are several, are level_0, level_1
        and so on.
      network: a config's `network`, which this must be; None allows any.

    Returns:
      (config, variables as numpy arrays).

    Raises InputError if the file cannot be read, is of another network or has weights that are
    not finite.
    """
    file = _open(path)
    config_class = _config_class(file, network)
    layers = _by_part(file, config_class)
    told = _with_levels(file, config_class, layers, told or {})
    facts = _facts(file, config_class, layers, told)
    misfit = _misfit(layers, config_class(**(facts | told)))
    contradiction = configs.contradiction(facts, told)
    if contradiction:
        detail = f': {misfit}' if misfit else ''
        raise InputError(f'{path}: {contradiction}{detail}; give the same value')
    if misfit:
        raise InputError(
            f'{path}: {misfit}; give a file of a {config_class.network} network of the reference'
        )
    _refuse_non_finite(file)
    config = config_class(**(facts | told))
    return config, _variables(config, layers)


def tells(path, network=None):
    """{name: value} of the config fields that a Keras file tells. Raises InputError as `read`."""
    file = _open(path)
    config_class = _config_class(file, network)
    return _facts(file, config_class, _by_part(file, config_class), {})


def write(path, config, variables):
    """Writes a Keras 2 weights file that the reference loads into its network of this config.

    Where ours has no bias, before a batch norm, it is 0. Names are bytes, as early Keras 2 wants.
    """
    with h5py.File(path, 'w') as file:
        parts = _tensors(config, variables)
        file.attrs['backend'] = np.bytes_('tensorflow')
        file.attrs['keras_version'] = np.bytes_(KERAS_VERSION)
        file.attrs['layer_names'] = np.array([part.name for part, _ in parts], np.bytes_)
        for part, tensors in parts:
            group = file.create_group(part.name)
            names = {f'{part.name}/{tensor}:0': leaf for tensor, leaf in tensors.items()}
            group.attrs['weight_names'] = np.array(list(names), np.bytes_)
            for name, leaf in names.items():
                group.create_dataset(name, data=np.asarray(leaf, np.float32))


def _open(path):
    """The `File` at a path."""
    try:
        with open(path, 'rb') as stream:
            head = stream.read(len(GIT_LFS))
    except OSError as error:
        raise InputError(f'{path}: this file cannot be read ({error.strerror})') from error
    if head.startswith(GIT_LFS):
        raise InputError(
            f'{path}: this is a git-lfs pointer, which stands for a file that was not fetched; run '
            'git lfs pull in its repository'
        )
    if not head.startswith((HDF5, ZIP)):
        raise InputError(
            f'{path}: this is not a Keras file, neither HDF5 nor .keras; give the file that '
            'save_weights or save wrote, or the folder of a run'
        )
    try:
        return _of_zip(path) if head.startswith(ZIP) else _of_hdf5(path)
    except InputError:
        raise
    except Exception as error:  # damage makes h5py raise errors of many kinds
        message = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise InputError(
            f'{path}: this file is truncated or damaged ({message}); copy it again'
        ) from error


def _of_hdf5(path):
    with h5py.File(path) as file:
        architecture = file.attrs.get('model_config')
        return File(path, _layers(path, file), _activations(path, architecture))


def _of_zip(path):
    with zipfile.ZipFile(path) as archive:
        if not {'config.json', 'model.weights.h5'} <= set(archive.namelist()):
            raise InputError(
                f'{path}: this is a zip file, but not one that Keras wrote; give a .keras file, an '
                'HDF5 file or the folder of a run'
            )
        architecture = archive.read('config.json')
        weights = io.BytesIO(archive.read('model.weights.h5'))
    with h5py.File(weights) as file:
        return File(path, _layers(path, file), _activations(path, architecture))


def _layers(path, file):
    """The layers with weights in an open HDF5 file."""
    group = file.get('model_weights', file)
    if {'layer_names', 'layer_names0'} & set(group.attrs):
        return list(_keras_2(group))
    if 'layers' in file:
        return list(_keras_3(file['layers']))
    raise InputError(
        f'{path}: this HDF5 file has no layers where Keras 2 or 3 puts them; load it in the Keras '
        "that wrote it and save it again, with model.save('network.h5')"
    )


def _keras_2(group):
    for name in _names(group.attrs, 'layer_names'):
        owners = defaultdict(list)  # one, or those of a model that is a layer of another
        for weight in _names(group[name].attrs, 'weight_names'):
            owner, _, tensor = weight.rpartition('/')
            owners[owner].append((tensor, group[name][weight]))
        for owner, weights in owners.items():
            yield _layer(name if len(owners) == 1 else owner.rpartition('/')[2], weights)


def _keras_3(group):
    for key in sorted(group, key=_number):
        values = group[key].get('vars', ())
        names = TENSORS['norm' if len(values) == 4 else 'conv']
        if len(values):
            weights = [(name, values[str(i)]) for i, name in enumerate(names)]
            yield _layer(values.attrs.get('name', key), weights)


def _names(attributes, name):
    """A list of names, which Keras divides into name0, name1, ... if it is long."""
    numbered = (f'{name}{i}' for i in itertools.count())
    divided = itertools.takewhile(lambda part: part in attributes, numbered)
    parts = divided if f'{name}0' in attributes else [name]
    names = [each for part in parts for each in attributes[part]]
    return [each.decode() if isinstance(each, bytes) else str(each) for each in names]


def _layer(name, weights):
    """A `Layer` of [(name such as kernel:0, HDF5 data set)]."""
    tensors = {re.sub(r'(_\d+)?(:\d+)?$', '', tensor): _array(values) for tensor, values in weights}
    dimensions = getattr(tensors.get('kernel'), 'ndim', None)
    kind = {4: 'conv', 2: 'dense'}.get(dimensions, 'norm' if 'gamma' in tensors else None)
    return Layer(name, kind, tensors)


def _array(values):
    if values.dtype.kind != 'f':
        raise TypeError(f'{values.name} has values of type {values.dtype}')
    return np.asarray(values, np.float32)


def _activations(path, architecture):
    """As in `File`, of the JSON text of an architecture, or None.

    Raises InputError for a layer that is code, and for one that computes what ours does not.
    """
    if architecture is None:
        return None
    activations = []
    for layer in _described(json.loads(architecture)):
        settings = layer['config']
        name = settings.get('name', layer['class_name'])
        if layer['class_name'] == 'Lambda':
            raise InputError(
                f'{path}: its layer {name} is a Lambda, which is code, and no code in a file is '
                'ever executed; give a file that save_weights wrote of the network without it'
            )
        epsilon = settings.get('epsilon', EPSILON)
        if layer['class_name'] == 'BatchNormalization' and not math.isclose(epsilon, EPSILON):
            raise InputError(
                f'{path}: its layer {name} has the epsilon {epsilon}; only {EPSILON}, '
                'that of the reference, can be loaded'
            )
        if settings.get('activation', 'linear') != 'linear':
            activations.append((name, str(settings['activation'])))
    return activations


def _described(model):
    """The layers that an architecture describes, also those of models inside of it."""
    layers = model['config']
    for layer in layers['layers'] if isinstance(layers, dict) else layers:
        yield layer
        if 'layers' in layer['config']:
            yield from _described(layer)


def _config_class(file, network):
    """The config class of the network in a file, which must be `network` if that is not None."""
    kernels = [(layer.name, layer.tensors['kernel'].shape) for layer in _in_order(file, 'conv')]
    if any(re.match(r'(de)?compression_', layer.name) for layer in file.layers):
        found = SegmentationConfig
    elif kernels and kernels[0][1][:3] == (7, 7, 1):
        found = SliceSelectionConfig
    else:
        found = None
    if found and network in (None, found.network):
        return found
    is_ = f'a {found.network} network' if found else 'no network of the reference'
    first = '{} with a kernel {}'.format(*kernels[0]) if kernels else 'missing'
    expected = [text for kind, text in FIRST.items() if network in (None, kind)]
    raise InputError(
        f'{file.path}: this is {is_}: its first convolution is {first}, where '
        f'{" or ".join(expected)} is expected; give a file of a {network or "known"} network'
    )


def _in_order(file, *kinds):
    """The layers of these kinds in the order of the numbers that Keras gave them."""
    layers = [layer for layer in file.layers if layer.kind in kinds]
    return sorted(layers, key=lambda layer: (layer.name != 'initial_conv2D', _number(layer.name)))


def _number(name):
    """3 of conv2d_3, 0 of conv2d."""
    return int(re.search(r'(?:_(\d+))?$', name)[1] or 0)


def _by_part(file, config_class):
    """{name of a `Part`: `Layer`}; a layer that can be none is under its own name."""
    layers = {layer.name: layer for layer in file.layers}
    if config_class is SegmentationConfig:
        return layers
    parts = {}
    for kind in TENSORS:
        for n, layer in enumerate(_in_order(file, kind)):
            parts[_numbered(kind, n)] = layers.pop(layer.name)
    return parts | layers


def _numbered(kind, n):
    """Keras's name of the n-th layer of a kind in a first DenseNet."""
    if kind == 'conv' and n == 0:
        return 'initial_conv2D'
    name = {'conv': 'conv2d', 'norm': 'batch_normalization', 'dense': 'dense'}[kind]
    n -= kind == 'conv'
    return f'{name}_{n}' if n else name


def _facts(file, config_class, layers, told):
    """{name: value} of the config fields that a file tells.

    Where weights are missing the facts are guesses, into which the others do not fit.
    """
    if config_class is SegmentationConfig:
        return _unet_facts(file, layers)
    return _densenet_facts(file, layers, told)


def _unet_facts(file, layers):
    def channels(level):
        return next((_width(layers[name]) for name in layers if name.startswith(f'{level}_')), 1)

    on_level = Counter(re.sub(r'_conv_\d+$', '', name) for name in layers if '_conv_' in name)
    levels = itertools.takewhile(
        lambda i: any(name.startswith(f'compression_{i}_') for name in layers), itertools.count()
    )
    down = [channels(f'compression_{i}') for i in levels]
    num_convs = max(on_level.values(), default=1)
    facts = {
        'compression_channels': (*down, channels('compression_center')),
        'decompression_channels': tuple(channels(f'decompression_{i}') for i in range(len(down))),
        'num_convs': num_convs,
    }
    if 'final_conv' in layers:
        classes = _width(layers['final_conv'])
        if classes not in (3, 4):
            raise InputError(
                f'{file.path}: its layer final_conv has {classes} classes; only networks of 4, or '
                'of 3 for thoracic models, can be loaded'
            )
        facts['thoracic_model'] = classes == 3
    free = [False] * num_convs * (2 * len(down) + 1)
    return facts | _activation(file, free, 'softmax')


def _width(layer):
    """Channels that a layer gives."""
    return next((values.shape[-1] for values in layer.tensors.values() if values.ndim), 1)


def _densenet_facts(file, layers, told):
    kernels = [layer.tensors['kernel'].shape for layer in _in_order(file, 'conv')]
    sizes = [kernel[0] for kernel in kernels]
    pairs = itertools.takewhile(lambda i: sizes[i : i + 2] == [1, 3], range(1, len(sizes), 2))
    per_block = max(1, len(list(pairs)))
    step = 2 * per_block + 1  # of a block and the transition after it
    blocks = math.ceil(len(kernels) / step)
    growth = kernels[2][-1] if len(kernels) > 2 else 1
    transitions = [
        (first[2] + per_block * growth, transition[-1])
        for first, transition in zip(kernels[1::step], kernels[step::step], strict=False)
    ]
    facts = {
        'nb_layers_per_block': per_block,
        'nb_blocks': blocks,
        'nb_initial_filters': kernels[0][-1],
        'growth_rate': growth,
        'omit_norm': not _in_order(file, 'norm'),
    }
    if transitions:
        facts['compression_rate'] = _compression_rate(transitions, told)
    block = 2 * per_block
    fixed = ([True] * block + [False]) * (blocks - 1) + [False] * (block + 1)
    return facts | _activation(file, fixed, 'sigmoid')


def _compression_rate(transitions, told):
    """A rate by which each of [(channels counted, channels kept)] comes about, the roundest."""
    default = SliceSelectionConfig().compression_rate
    rounded = (round(n / 10**d, d) for d in range(1, 5) for n in range(1, 10**d + 1))
    for rate in itertools.chain((told.get('compression_rate', default), default), rounded):
        if all(int(counted * rate) == kept for counted, kept in transitions):
            return rate
    return default


def _activation(file, fixed, output):
    """{'activation': its name}, or {} if the file does not tell.

    Args:
      file: a `File`.
      fixed: of each activation before the output's, whether it is ReLU in any such network.
      output: the activation of the output.
    """
    if file.activations is None:
        return {}
    names = [name for _, name in file.activations]
    own = names[-2] if len(names) > 1 else 'none'
    if own not in ACTIVATIONS:
        raise InputError(
            f'{file.path}: its activation is {own}; only {", ".join(ACTIVATIONS)} can be loaded'
        )
    expected = [*('relu' if is_relu else own for is_relu in fixed), output]
    pairs = itertools.zip_longest(file.activations, expected, fillvalue=('none', 'none'))
    for (layer, name), wanted in pairs:
        if name != wanted:
            raise InputError(
                f'{file.path}: its layer {layer} has the activation {name}, where this network of '
                f'the reference has {wanted}; it computes something else and cannot be loaded'
            )
    return {'activation': ACTIVATIONS[own]}


def _with_levels(file, config_class, layers, told):
    """`told`, checked: with names for the levels, and with nothing that is of other networks."""
    unknown = told.keys() - set(configs.names(config_class))
    if unknown:
        raise InputError(
            f'{file.path}: --{min(unknown)} means nothing to this {config_class.network} network; '
            'leave it out'
        )
    if config_class is SegmentationConfig or 'dense' not in layers:
        return told
    outputs = layers['dense'].tensors['kernel'].shape[-1]
    if 'levels' in told and len(told['levels']) != outputs:
        raise InputError(
            f'{file.path}: this network tells the distance from {outputs} levels, not from '
            f'{len(told["levels"])} (--levels {configs.as_flag(told["levels"])}); name as many, in '
            'the order of its outputs'
        )
    several = {'levels': tuple(f'level_{i}' for i in range(outputs))} if outputs > 1 else {}
    return several | told


def _misfit(layers, config):
    """What the first layer is that a network of this config has otherwise; None if all fit."""
    expected = _tensors(config, predictors.shapes(config))
    for part, tensors in expected:
        if part.name not in layers:
            shape = next(iter(tensors.values())).shape
            return f'the layer {part.name} is missing, where {shape} is expected'
        layer = layers[part.name]
        for name, like in tensors.items():
            found = layer.tensors[name].shape if name in layer.tensors else 'missing'
            if found != like.shape:
                return (
                    f'the {name} of the layer {layer.name} is {found}, where {like.shape} is '
                    'expected'
                )
    names = {part.name for part, _ in expected}
    extra = next((layer.name for name, layer in layers.items() if name not in names), None)
    return f'the layer {extra} is one too many' if extra else None


def _refuse_non_finite(file):
    for layer in file.layers:
        for name, values in layer.tensors.items():
            if not np.isfinite(values).all():
                raise InputError(
                    f'{file.path}: the {name} of the layer {layer.name} has values that are no '
                    'finite numbers; give a file from before that training diverged'
                )


def _parts(config):
    """The layers with weights, in the order in which Keras makes them."""
    if isinstance(config, SegmentationConfig):
        return _unet_parts(config)
    return _densenet_parts(config)


def _unet_parts(config):
    up = range(len(config.decompression_channels))
    levels = [
        *(f'compression_{i}' for i in up),
        'compression_center',
        *(f'decompression_{i}' for i in up),
    ]
    parts = [
        Part(f'{level}_{kind}_{j}', (level, f'{kind}_{j}'), kind, folds=kind == 'conv')
        for level in levels
        for j in range(config.num_convs)
        for kind in ('conv', 'norm')
    ]
    return [*parts, Part('final_conv', ('final_conv',), 'conv')]


def _densenet_parts(config):
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
    parts, counts = [], Counter()
    for name in ours:
        kind = next(kind for kind in TENSORS if kind in name)
        if not (kind == 'norm' and config.omit_norm):
            parts.append(Part(_numbered(kind, counts[kind]), (name,), kind))
            counts[kind] += 1
    return parts


def _tensors(config, variables):
    """[(`Part`, {Keras's name: array})] of our variables, or of their shapes."""
    tensors = []
    for part in _parts(config):
        params = _at(variables['params'], part.path)
        if part.kind == 'norm':
            stats = _at(variables['batch_stats'], part.path)
            arrays = params['scale'], params['bias'], stats['mean'], stats['var']
        else:
            bias = np.zeros(params['kernel'].shape[-1], np.float32)
            arrays = params['kernel'], bias if part.folds else params['bias']
        tensors.append((part, dict(zip(TENSORS[part.kind], arrays, strict=True))))
    return tensors


def _variables(config, layers):
    """The inverse of `_tensors`, of {name of a `Part`: `Layer`}."""
    params, stats, folded = {}, {}, 0
    for part in _parts(config):
        tensors = layers[part.name].tensors
        if part.kind == 'norm':
            _put(params, part.path, {'scale': tensors['gamma'], 'bias': tensors['beta']})
            mean = tensors['moving_mean'] - folded
            _put(stats, part.path, {'mean': mean, 'var': tensors['moving_variance']})
        elif part.folds:
            _put(params, part.path, {'kernel': tensors['kernel']})
            folded = tensors['bias']
        else:
            _put(params, part.path, {name: tensors[name] for name in TENSORS[part.kind]})
    return {'params': params, 'batch_stats': stats} if stats else {'params': params}


def _at(tree, path):
    for name in path:
        tree = tree[name]
    return tree


def _put(tree, path, leaf):
    *above, name = path
    for each in above:
        tree = tree.setdefault(each, {})
    tree[name] = leaf
