import io
import json
import runpy
import sys
import zipfile

import h5py
import jax
import numpy as np
import pytest
from helpers import ROOT, SHARED_DATA, SIDE, read_rows, tiny_config, train_tiny

from bodycomp_jax.checkpoints import keras_network, run
from bodycomp_jax.checkpoints.run import load_model
from bodycomp_jax.config import RunConfig, SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.data.phantom import slices
from bodycomp_jax.errors import InputError
from bodycomp_jax.models import densenet, unet
from bodycomp_jax.runtime import flags
from bodycomp_jax.training.tasks import losses

REFERENCE = SHARED_DATA / 'reference'
NORM = ('gamma', 'beta', 'moving_mean', 'moving_variance')
LEVELS = {'compression_0': (1, 4), 'compression_center': (4, 8), 'decompression_0': (12, 4)}


def unet_layers(classes=4):
    """{layer: {tensor: array}} of the network of `tiny_config`, with biases that count."""
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
    random = np.random.default_rng(shape)
    kernel = random.normal(0, 0.3, shape).astype('f4')
    return {'kernel': kernel, 'bias': random.normal(0, 0.3, shape[-1]).astype('f4')}


def normed(channels):
    random = np.random.default_rng(channels)
    return {name: random.uniform(0.5, 1.5, channels).astype('f4') for name in NORM}


def architecture(*activations, **layer):
    """The JSON text of the activations of a network, and of another layer, if one is given."""
    layers = [
        {'class_name': 'Activation', 'config': {'name': f'activation_{i}', 'activation': name}}
        for i, name in enumerate(activations)
    ]
    layers += [layer] if layer else []
    return json.dumps({'class_name': 'Functional', 'config': {'layers': layers}})


def write_keras_2(path, layers, model_config=None):
    """As `save_weights` writes, or `save` if the architecture is given."""
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


def write_keras_3(path, layers, model_config=None):
    """As Keras 3 writes: numbered by kind; with the architecture, in a zip file."""
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


def probabilities_by_hand(layers, x):
    """What Keras computes with the weights of `unet_layers` and ELU; x `[B, H, W, 1]`."""

    def conv(x, name):
        kernel = layers[name]['kernel'].astype(float)
        margin, (H, W) = kernel.shape[0] // 2, x.shape[1:3]
        x = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        places = np.ndindex(kernel.shape[:2])
        sums = sum(x[:, i : i + H, j : j + W] @ kernel[i, j] for i, j in places)
        return sums + layers[name]['bias']

    def block(x, level):
        gamma, beta, mean, variance = layers[f'{level}_norm_0'].values()
        x = (conv(x, f'{level}_conv_0') - mean) / np.sqrt(variance + 1e-3) * gamma + beta
        return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))

    skip = block(x, 'compression_0')
    B, H, W, C = skip.shape
    x = block(skip.reshape(B, H // 2, 2, W // 2, 2, C).max((2, 4)), 'compression_center')
    x = block(np.concatenate([x.repeat(2, 1).repeat(2, 2), skip], -1), 'decompression_0')
    p = np.exp(conv(x, 'final_conv'))
    return p / p.sum(-1, keepdims=True)


def assert_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.fixture
def unet_file(tmp_path):
    return write_keras_2(tmp_path / 'unet.hdf5', unet_layers())


@pytest.fixture
def densenet_file(tmp_path):
    return write_keras_2(tmp_path / 'densenet.hdf5', densenet_layers())


@pytest.mark.parametrize('name', ['unet_small', 'unet_elu_3class'])
def test_the_reference_s_unets_give_its_probabilities_and_loss(name):
    expected, told = recorded(name), {'activation': 'elu'} if 'elu' in name else {}
    model = load_model(REFERENCE / f'{name}.weights.hdf5', apply_window_function=False, **told)
    found, _ = model(expected['images'][..., 0])
    np.testing.assert_allclose(found, expected['probabilities'], rtol=0, atol=1e-5)
    config, variables = keras_network.read(REFERENCE / f'{name}.model.hdf5')
    assert (config.activation, config.thoracic_model) == (
        told.get('activation', 'relu'),
        'elu' in name,
    )
    assert_equal(model.variables, variables)
    logits = np.log(np.maximum(expected['probabilities'], 1e-37))
    batch = {'mask': expected['masks'][..., 0], 'weight': np.ones(len(logits))}
    loss = losses.dice(losses.segmentation_sums(logits, batch))
    assert loss == pytest.approx(float(expected['loss']), abs=1e-6)


@pytest.mark.parametrize('name', ['densenet_small', 'densenet_two_levels'])
def test_the_reference_s_densenets_give_its_outputs(name):
    expected = recorded(name)
    config, variables = keras_network.read(REFERENCE / f'{name}.weights.hdf5')
    apply = jax.jit(densenet.from_config(config).apply)
    found = jax.nn.sigmoid(apply(variables, expected['images']))
    np.testing.assert_allclose(found, expected['outputs'], rtol=0, atol=1e-5)
    from_model, same = keras_network.read(REFERENCE / f'{name}.model.hdf5')
    assert from_model == config
    assert_equal(same, variables)


def recorded(name):
    if not REFERENCE.is_dir():
        pytest.skip(f'the networks of the reference are not at {REFERENCE}')
    return np.load(REFERENCE / f'{name}.npz')


def test_a_unet_answers_as_keras_computes_it(tmp_path):
    layers = unet_layers()
    model_config = architecture('elu', 'elu', 'elu', 'softmax')
    path = write_keras_2(tmp_path / 'unet.hdf5', layers, model_config)
    model = load_model(path, apply_window_function=False)
    x = np.random.default_rng(0).uniform(0, 3, (1, SIDE, SIDE))
    expected = probabilities_by_hand(layers, x[..., None])
    np.testing.assert_allclose(model(x)[0], expected, atol=1e-5)


def test_a_file_tells_what_can_be_seen_in_it(tmp_path, unet_file):
    network = {'compression_channels': (4, 8), 'decompression_channels': (4,), 'num_convs': 1}
    assert keras_network.tells(unet_file) == network | {'thoracic_model': False}
    model_config = architecture('swish', 'swish', 'swish', 'softmax')
    path = write_keras_2(tmp_path / 'thoracic.hdf5', unet_layers(3), model_config)
    known = {'thoracic_model': True, 'activation': 'silu'}
    assert keras_network.tells(path) == network | known


@pytest.mark.parametrize('norm', [True, False])
def test_layers_of_a_densenet_are_matched_in_the_order_of_their_numbers(tmp_path, norm):
    layers = densenet_layers(first=8, norm=norm)  # conv2d_10 is after conv2d_9
    path = write_keras_2(tmp_path / 'net.hdf5', dict(sorted(layers.items())))
    assert keras_network.tells(path) == {
        'nb_layers_per_block': 2,
        'nb_blocks': 2,
        'nb_initial_filters': 4,
        'growth_rate': 2,
        'omit_norm': not norm,
        'compression_rate': 0.4,
    }
    config, variables = keras_network.read(path)
    assert config.levels == ('level_0', 'level_1')
    params = variables['params']
    ours = {'initial_conv': 'initial_conv2D', 'transition_0_conv': 'conv2d_12'}
    ours |= {'block_0_layer_0_conv_0': 'conv2d_8', 'block_1_layer_0_conv_0': 'conv2d_13'}
    for name, keras_name in (ours | {'dense': 'dense_1'}).items():
        assert_equal(params[name], layers[keras_name])
    assert ('batch_stats' in variables) == norm
    if norm:
        final = layers['batch_normalization_17']
        assert_equal(params['final_norm'], {'scale': final['gamma'], 'bias': final['beta']})
        assert_equal(variables['batch_stats']['final_norm']['mean'], final['moving_mean'])


def test_the_activation_of_a_densenet_is_that_of_its_end(tmp_path):
    kinds = [*4 * ['relu'], *6 * ['elu'], 'sigmoid']  # the first block's; the others
    path = write_keras_2(tmp_path / 'net.hdf5', densenet_layers(), architecture(*kinds))
    assert keras_network.read(path)[0].activation == 'elu'
    kinds[1] = 'elu'
    write_keras_2(path, densenet_layers(), architecture(*kinds))
    with pytest.raises(InputError, match=r'activation_1 has the activation elu, where .* has relu'):
        keras_network.read(path)


@pytest.mark.parametrize('make', [unet_layers, densenet_layers])
def test_files_of_keras_3_hold_the_same(tmp_path, make):
    layers = make()
    expected = keras_network.read(write_keras_2(tmp_path / 'net.hdf5', layers))
    kinds = 3 * ['relu'] + ['softmax'] if make is unet_layers else 10 * ['relu'] + ['sigmoid']
    for name, model_config in (('net.weights.h5', None), ('net.keras', architecture(*kinds))):
        found = keras_network.read(write_keras_3(tmp_path / name, layers, model_config))
        assert found[0] == expected[0]
        assert_equal(found[1], expected[1])


def test_a_model_that_is_a_layer_of_another_is_found(tmp_path):
    """As Keras saves a network that was trained on several GPUs."""
    layers = unet_layers()
    path = tmp_path / 'net.hdf5'
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
    expected = keras_network.read(write_keras_2(tmp_path / 'plain.hdf5', layers))
    assert_equal(keras_network.read(path)[1], expected[1])


@pytest.mark.parametrize('make', [unet_layers, densenet_layers])
def test_there_and_back_not_a_bit_changes(tmp_path, make):
    layers, told = make(), {} if make is unet_layers else {'levels': ('L3', 'L1')}
    source = write_keras_2(tmp_path / 'net.hdf5', layers)
    config = run.convert(source, tmp_path / 'new' / 'final_model', **told)
    run.convert(tmp_path / 'new' / 'final_model', tmp_path / 'back.hdf5')
    begun, back = keras_network.read(source, told), keras_network.read(tmp_path / 'back.hdf5', told)
    assert begun[0] == back[0] == config
    assert_equal(back[1], begun[1])
    with h5py.File(tmp_path / 'back.hdf5') as file:
        assert isinstance(file.attrs['layer_names'][0], bytes)
        assert file.attrs['layer_names'][0].decode() == next(iter(layers))
        for (name, tensors), written in zip(layers.items(), file.attrs['layer_names'], strict=True):
            group = file[written]
            for tensor, path in zip(tensors, group.attrs['weight_names'], strict=True):
                assert path.decode().endswith(f'/{tensor}:0')
                folded = make is unet_layers and (tensor in ('moving_mean', 'bias'))
                if not folded or name == 'final_conv':
                    np.testing.assert_array_equal(group[path], tensors[tensor])


def test_training_starts_where_the_network_is_and_goes_on(tmp_path, unet_file):
    slices.write_dataset(tmp_path, train=8, val=5, side=SIDE)
    config = tiny_config(load_weights=str(unet_file), augment=False, learning_rate=0.05)
    run_dir = tmp_path / 'run'
    train_tiny(tmp_path, run_dir, config)
    images = np.load(tmp_path / 'train_images.npy')[..., 0]  # all of them are in each batch
    masks = np.load(tmp_path / 'train_masks.npy')[..., 0]
    model = load_model(unet_file)
    logits, _ = unet.from_config(model.config).apply(
        model.variables,
        unet.inputs(images, apply_window=True),
        train=True,
        mutable=['batch_stats'],
    )
    batch = {'mask': masks, 'weight': np.ones(len(masks))}
    expected = losses.dice(losses.segmentation_sums(logits, batch))
    found = [float(row['train_loss']) for row in read_rows(run_dir / 'metrics.csv')]
    assert found[0] == pytest.approx(float(expected), abs=1e-5)
    assert found[0] > found[1] > found[2]


def parsed(config_class, run_dir, *flags):
    """The config of a trainer's command line, as its program makes it."""
    argv = ['train.py', 'data', 'out', *map(str, flags)]
    config = flags.parse(argv, '', RunConfig, config_class)[1]
    network = run.starting_network(run_dir, config)
    return flags.parse(argv, '', RunConfig, config_class, **network)[1]


def test_flags_that_are_not_given_follow_the_weights(tmp_path, unet_file, densenet_file):
    config = parsed(SegmentationConfig, tmp_path, '-w', unet_file, '-A', 'elu', '-b', 8, '-e', 3)
    assert config == tiny_config(load_weights=str(unet_file), activation='elu')
    run.starting_weights(tmp_path, config)
    flags = ['-w', densenet_file, '-L', 'T5,T8', '-t', 7]
    config = parsed(SliceSelectionConfig, tmp_path, *flags)
    assert (config.levels, config.threshold, config.growth_rate) == (('T5', 'T8'), 7, 2)
    run.starting_weights(tmp_path, config)


def test_flags_that_are_not_given_follow_a_run(tmp_path, finished_run):
    for weights in (finished_run.run_dir, finished_run.run_dir / 'final_model'):
        config = parsed(SegmentationConfig, tmp_path, '-w', weights)
        assert config.compression_channels == (4, 8)
        run.starting_weights(tmp_path, config)
    config = parsed(SegmentationConfig, finished_run.run_dir, '-w', tmp_path / 'gone')
    assert config.compression_channels == (4, 8)  # that run continues


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['-N', '2'], r'--num_convs 1, not 2: the layer compression_0_conv_1 is missing'),
        (['-C', '4,9', '-M', '4'], r'4,8, not 4,9: .*center_conv_0 is \(3, 3, 4, 8\), where \(3'),
        (['-C', '4,8,8', '-M', '8,4'], 'this network has --compression_channels 4,8, not 4,8,8'),
        (
            ['-t'],
            r'--thoracic_model off, not on: the kernel of the layer final_conv is \(1, 1, 4, 4',
        ),
    ],
)
def test_flags_that_contradict_the_file_are_named(tmp_path, unet_file, flags, message):
    config = parsed(SegmentationConfig, tmp_path, '-w', unet_file, *flags)
    with pytest.raises(InputError, match=message):
        run.starting_weights(tmp_path, config)


def test_a_network_of_the_other_trainer_is_refused(tmp_path, unet_file, densenet_file):
    with pytest.raises(InputError, match=r'is a segmentation network: .*compression_0_conv_0'):
        parsed(SliceSelectionConfig, tmp_path, '-w', unet_file)
    with pytest.raises(InputError, match=r'initial_conv2D with a kernel \(7, 7, 1, 4\), where com'):
        parsed(SegmentationConfig, tmp_path, '-w', densenet_file)


def test_what_is_told_of_a_file_must_be_so(densenet_file, finished_run):
    assert load_model(densenet_file, levels=('L1', 'L3')).config.levels == ('L1', 'L3')
    with pytest.raises(InputError, match=r'from 2 levels, not from 1 .--levels L3.'):
        load_model(densenet_file, levels=('L3',))
    with pytest.raises(InputError, match='--num_convs means nothing to this slice_selection'):
        load_model(densenet_file, num_convs=2)
    with pytest.raises(InputError, match='this network has --activation relu, not elu'):
        load_model(finished_run.run_dir, activation='elu')


def without(name):
    return lambda layers: layers.pop(name)


def with_value(layer, tensor, value):
    def change(layers):
        layers[layer][tensor] = np.array(value, 'f4')

    return change


WRONG_LAYERS = {
    'missing': (
        unet_layers,
        without('decompression_0_conv_0'),
        'layer decompression_0_conv_0 is m',
    ),
    'no center': (unet_layers, without('compression_center_norm_0'), 'center_norm_0 is missing'),
    'no end': (unet_layers, without('final_conv'), 'the layer final_conv is missing'),
    'extra': (
        unet_layers,
        lambda x: x.update(conv2d_7=weighted(1, 1, 4, 4)),
        'conv2d_7 is one too',
    ),
    'classes': (
        unet_layers,
        with_value('final_conv', 'kernel', np.ones((1, 1, 4, 5))),
        '5 classes',
    ),
    'shape': (
        unet_layers,
        with_value('decompression_0_norm_0', 'beta', np.ones(3)),
        r'the beta of the layer decompression_0_norm_0 is \(3,\), where \(4,\) is expected',
    ),
    'no bias': (unet_layers, lambda x: x['final_conv'].pop('bias'), 'the bias .* is missing'),
    'nan': (
        unet_layers,
        with_value('compression_0_norm_0', 'gamma', [1, 2, np.nan, 4]),
        'the gamma of the layer compression_0_norm_0 has values that are no finite numbers',
    ),
    'densenet': (
        densenet_layers,
        without('conv2d_26'),
        r'the kernel of the layer conv2d_27 is \(1, 1, 5, 8\), where \(3, 3, 8, 2\) is expected',
    ),
    'no norm': (densenet_layers, without('batch_normalization_29'), '_9 is missing'),
    'two ends': (densenet_layers, lambda x: x.update(dense_2=weighted(4, 2)), 'dense_2 is one too'),
    'others': (
        lambda: {'conv1': weighted(7, 7, 3, 64)},
        lambda layers: None,
        r'no network of the reference: its first convolution is conv1 with a kernel \(7, 7, 3',
    ),
}


@pytest.mark.parametrize('wrong', WRONG_LAYERS)
def test_the_first_layer_that_does_not_fit_is_named(tmp_path, wrong):
    make, damage, message = WRONG_LAYERS[wrong]
    layers = make()
    damage(layers)
    path = write_keras_2(tmp_path / 'net.hdf5', layers)
    with pytest.raises(InputError, match=f'^{path}: .*{message}'):
        keras_network.read(path)


@pytest.mark.parametrize(
    ('model_config', 'message'),
    [
        (
            architecture('relu', class_name='Lambda', config={'name': 'f'}),
            'f is a Lambda, which is',
        ),
        (
            architecture(
                class_name='Functional',
                config={'layers': [{'class_name': 'Lambda', 'config': {'function': ['4wEA']}}]},
            ),
            'Lambda, which is code',
        ),
        (architecture('gelu', 'gelu', 'gelu', 'softmax'), 'its activation is gelu; only relu'),
        (architecture('elu', 'relu', 'elu', 'softmax'), 'activation_1 has .* relu, where .* elu'),
        (architecture('relu', 'relu', 'relu', 'sigmoid'), 'activation sigmoid, where .* softmax'),
        (architecture('relu', 'relu', 'softmax'), 'activation softmax, where .* has relu'),
        (
            architecture(class_name='BatchNormalization', config={'name': 'norm', 'epsilon': 1e-5}),
            'its layer norm has the epsilon 1e-05',
        ),
        ('{', 'truncated or damaged'),
    ],
)
def test_networks_that_compute_something_else_are_refused(tmp_path, model_config, message):
    path = write_keras_2(tmp_path / 'net.hdf5', unet_layers(), model_config)
    with pytest.raises(InputError, match=message):
        keras_network.read(path)


def bytes_of(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def other_zip(path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('image.npy', '')


WRONG_FILES = {
    'no HDF5': (bytes_of(lambda b: b'\x93NUMPY' + b), 'this is not a Keras file'),
    'empty': (bytes_of(lambda b: b''), 'this is not a Keras file'),
    'truncated': (bytes_of(lambda b: b[: len(b) // 2]), 'this file is truncated or damaged'),
    'names lost': (
        bytes_of(lambda b: b.replace(b'weight_names', b'weight_nam\xff\xff')),
        'damaged',
    ),
    'git-lfs': (
        bytes_of(lambda b: b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n'),
        'this is a git-lfs pointer, .* run git lfs pull',
    ),
    'zip': (lambda path: zipfile.ZipFile(path, 'w').close(), 'this is not a Keras file'),
    'zip of others': (other_zip, 'a zip file, but not one that Keras'),
    'no Keras': (lambda path: h5py.File(path, 'w').close(), 'no layers where Keras 2 or 3 puts'),
    'gone': (lambda path: path.unlink(), 'there is no model'),
}


@pytest.mark.parametrize('wrong', WRONG_FILES)
def test_a_file_that_cannot_be_read_is_one_paragraph_code_two_and_nothing_on_disk(
    tmp_path, unet_file, monkeypatch, capsys, wrong
):
    damage, message = WRONG_FILES[wrong]
    damage(unet_file)
    before = sorted(tmp_path.iterdir())
    error = converted(monkeypatch, capsys, 2, unet_file, tmp_path / 'out' / 'final_model')
    assert len(error.strip().splitlines()) == 1
    assert str(unet_file) in error
    with pytest.raises(InputError, match=message):
        load_model(unet_file)
    assert sorted(tmp_path.iterdir()) == before


def test_conversion_is_told_what_the_file_cannot_tell(tmp_path, unet_file, monkeypatch, capsys):
    out = tmp_path / 'final_model'
    converted(monkeypatch, capsys, 0, unet_file, out, '-A', 'elu', '--noapply_window_function')
    config = load_model(out).config
    assert (config.activation, config.apply_window_function) == ('elu', False)
    error = converted(monkeypatch, capsys, 2, unet_file, out)
    assert 'this exists already' in error


def converted(monkeypatch, capsys, code, *arguments):
    """Runs bin/convert_weights.py in this process; what it writes to stderr."""
    monkeypatch.setattr(sys, 'argv', ['convert_weights.py', *map(str, arguments)])
    main = runpy.run_path(str(ROOT / 'bin/convert_weights.py'))['main']
    if code:
        with pytest.raises(SystemExit) as stop:
            flags.run(main)
        assert stop.value.code == code
    else:
        flags.run(main)
    return capsys.readouterr().err
