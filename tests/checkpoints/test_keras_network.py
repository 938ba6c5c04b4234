import functools
import resource

import h5py
import jax
import numpy as np
import pytest
from helpers import SHARED_DATA, SIDE, drawn_variables, read_rows, tiny_config, train_tiny
from keras_files import (
    architecture,
    convert,
    densenet_layers,
    unet_layers,
    weighted,
    write_keras_2,
    write_keras_2_nested,
    write_keras_3,
)

from bodycomp_jax.checkpoints import continuing, keras_network, network, store
from bodycomp_jax.config import (
    DenseNetConfig,
    SegmentationConfig,
    SliceSelectionConfig,
    UNetConfig,
    from_values,
    to_json,
    to_values,
)
from bodycomp_jax.data import phantom
from bodycomp_jax.errors import InputError
from bodycomp_jax.inference.load import load_model
from bodycomp_jax.models.build import as_inputs, build_network, variable_shapes
from bodycomp_jax.runtime import flags
from bodycomp_jax.training.tasks import losses

REFERENCE = SHARED_DATA / 'reference'


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


def dice_loss(logits, masks):
    """The loss over all slices."""
    return float(losses.dice_loss(losses.segmentation_sums(logits, masks)))


def assert_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.fixture
def unet_file(tmp_path):
    return write_keras_2(tmp_path / 'unet.hdf5', unet_layers())


@pytest.fixture
def densenet_file(tmp_path):
    return write_keras_2(tmp_path / 'densenet.hdf5', densenet_layers())


@pytest.mark.parametrize('name', ['unet_small', 'unet_elu_3class'])
def test_unets_of_the_reference_keep_their_probabilities_and_loss(name):
    expected, overrides = recorded(name), {'activation': 'elu'} if 'elu' in name else {}
    weights = REFERENCE / f'{name}.weights.hdf5'
    model = load_model(weights, apply_window_function=False, **overrides)
    found, _ = model(expected['images'][..., 0])
    np.testing.assert_allclose(found, expected['probabilities'], rtol=0, atol=1e-5)
    config, variables = keras_network.read(REFERENCE / f'{name}.model.hdf5', {})
    assert config.activation == overrides.get('activation', 'relu')
    assert config.thoracic_model == ('elu' in name)
    assert_equal(model.variables, (variables,))
    logits = np.log(np.maximum(expected['probabilities'], 1e-37))
    loss = dice_loss(logits, expected['masks'][..., 0])
    assert loss == pytest.approx(float(expected['loss']), abs=1e-6)


@pytest.mark.parametrize('name', ['densenet_small', 'densenet_two_levels'])
def test_densenets_of_the_reference_keep_their_outputs(name):
    expected = recorded(name)
    config, variables = keras_network.read(REFERENCE / f'{name}.weights.hdf5', {})
    logits = jax.jit(build_network(config).apply)(variables, expected['images'])
    np.testing.assert_allclose(jax.nn.sigmoid(logits), expected['outputs'], rtol=0, atol=1e-5)
    from_model, same = keras_network.read(REFERENCE / f'{name}.model.hdf5', {})
    assert from_model == config
    assert_equal(same, variables)


def recorded(name):
    if not REFERENCE.is_dir():
        pytest.skip(f'the networks of the reference are not at {REFERENCE}')
    return np.load(REFERENCE / f'{name}.npz')


def test_a_unet_predicts_what_keras_computes(tmp_path):
    layers = unet_layers()
    model_config = architecture('elu', 'elu', 'elu', 'softmax')
    path = write_keras_2(tmp_path / 'unet.hdf5', layers, model_config)
    model = load_model(path, apply_window_function=False)
    x = np.random.default_rng(0).uniform(0, 3, (1, SIDE, SIDE))
    expected = probabilities_by_hand(layers, x[..., None])
    np.testing.assert_allclose(model(x)[0], expected, atol=1e-5)


def test_options_of_a_unet_are_read_from_its_layers_and_architecture(tmp_path, unet_file):
    shared = {
        'compression_channels': (4, 8),
        'decompression_channels': (4,),
        'num_convs': 1,
        'pixel_shuffle': 1,
    }
    assert keras_network.read_options(unet_file) == shared | {'thoracic_model': False}
    model_config = architecture('swish', 'swish', 'swish', 'softmax')
    path = write_keras_2(tmp_path / 'thoracic.hdf5', unet_layers(3), model_config)
    others = {'thoracic_model': True, 'activation': 'silu'}
    assert keras_network.read_options(path) == shared | others


@pytest.mark.parametrize('norm', [True, False])
def test_layers_of_a_densenet_are_matched_by_their_numbers(tmp_path, norm):
    layers = densenet_layers(first=8, norm=norm)  # conv2d_10 is after conv2d_9
    path = write_keras_2(tmp_path / 'net.hdf5', dict(sorted(layers.items())))
    assert keras_network.read_options(path) == {
        'nb_layers_per_block': 2,
        'nb_blocks': 2,
        'nb_initial_filters': 4,
        'growth_rate': 2,
        'omit_norm': not norm,
        'compression_rate': 0.4,
    }
    config, variables = keras_network.read(path, {})
    assert config.levels == ('level_0', 'level_1')
    params, stats = variables['params'], variables['batch_stats']
    ours = {'initial_conv': 'initial_conv2D', 'transition_0_conv': 'conv2d_12'}
    ours |= {'block_0_layer_0_conv_0': 'conv2d_8', 'block_1_layer_0_conv_0': 'conv2d_13'}
    for name, keras_name in (ours | {'dense': 'dense_1'}).items():
        assert_equal(params[name], layers[keras_name])
    assert bool(stats) == norm
    if norm:
        final = layers['batch_normalization_17']
        assert_equal(params['final_norm'], {'scale': final['gamma'], 'bias': final['beta']})
        assert_equal(stats['final_norm']['mean'], final['moving_mean'])


@pytest.mark.parametrize('norm', [True, False])
def test_variables_have_the_structure_of_the_network(tmp_path, norm):
    path = write_keras_2(tmp_path / 'net.hdf5', densenet_layers(norm=norm))
    config, variables = keras_network.read(path, {})
    shapes = jax.tree.map(lambda x: x.shape, variables)
    assert shapes == jax.tree.map(lambda x: x.shape, variable_shapes(config))


def test_a_densenet_has_the_activation_of_its_last_block(tmp_path):
    kinds = [*4 * ['relu'], *6 * ['elu'], 'sigmoid']  # the first block's; the others
    path = write_keras_2(tmp_path / 'net.hdf5', densenet_layers(), architecture(*kinds))
    assert keras_network.read(path, {})[0].activation == 'elu'
    kinds[1] = 'elu'
    write_keras_2(path, densenet_layers(), architecture(*kinds))
    with pytest.raises(InputError, match='activation_1 has the activation elu, expected relu'):
        keras_network.read(path, {})


@pytest.mark.parametrize('make', [unet_layers, densenet_layers])
def test_every_format_gives_the_same_network(tmp_path, make):
    layers = make()
    expected = keras_network.read(write_keras_2(tmp_path / 'net.hdf5', layers), {})
    kinds = 3 * ['relu'] + ['softmax'] if make is unet_layers else 10 * ['relu'] + ['sigmoid']
    for path in (
        write_keras_2_nested(tmp_path / 'nested.hdf5', layers),
        write_keras_3(tmp_path / 'net.weights.h5', layers),
        write_keras_3(tmp_path / 'net.keras', layers, architecture(*kinds)),
    ):
        found = keras_network.read(path, {})
        assert found[0] == expected[0]
        assert_equal(found[1], expected[1])


@pytest.mark.parametrize('make', [unet_layers, densenet_layers])
def test_conversion_there_and_back_changes_no_bit(tmp_path, make):
    layers, overrides = make(), {} if make is unet_layers else {'levels': ('L3', 'L1')}
    source, target = write_keras_2(tmp_path / 'net.hdf5', layers), tmp_path / 'back.hdf5'
    config = network.convert(source, tmp_path / 'new' / 'final_model', overrides)
    network.convert(tmp_path / 'new' / 'final_model', target, {})
    first, back = keras_network.read(source, overrides), keras_network.read(target, overrides)
    assert first[0] == back[0] == config
    assert_equal(back[1], first[1])
    with h5py.File(target) as file:
        assert isinstance(file.attrs['layer_names'][0], bytes)
        assert file.attrs['layer_names'][0].decode() == next(iter(layers))
        for (name, tensors), written in zip(layers.items(), file.attrs['layer_names'], strict=True):
            group = file[written]
            for tensor, path in zip(tensors, group.attrs['weight_names'], strict=True):
                assert path.decode().endswith(f'/{tensor}:0')
                moved = make is unet_layers and (tensor in ('moving_mean', 'bias'))
                if not moved or name == 'final_conv':
                    np.testing.assert_array_equal(group[path], tensors[tensor])


def pretrained(config_class, run_dir, *arguments):
    """The config and variables for the command line of a trainer."""
    (config,), given = flags.parse(['train.py', *map(str, arguments)], '', config_class)
    return continuing.load_pretrained(run_dir, config, given)


def test_training_starts_from_a_keras_file(tmp_path, unet_file):
    phantom.write_segmentation_set(tmp_path, train=8, val=5, side=SIDE)
    run_dir = tmp_path / 'run'
    arguments = ['-w', unet_file, '--noaugment', '-l', 0.05, '-b', 8, '-e', 3]
    config, variables = pretrained(SegmentationConfig, run_dir, *arguments)
    train_tiny(tmp_path, run_dir, config, pretrained=variables)
    images = np.load(tmp_path / 'train_images.npy')[..., 0]  # all of them are in each batch
    masks = np.load(tmp_path / 'train_masks.npy')[..., 0]
    model = load_model(unet_file)
    unet = build_network(model.config)
    train = jax.jit(functools.partial(unet.apply, train=True, mutable=['batch_stats']))
    logits, _ = train(*model.variables, as_inputs(images))
    found = [float(row['train_loss']) for row in read_rows(run_dir / 'metrics.csv')]
    labels = unet.labels_of(logits, masks)
    assert found[0] == pytest.approx(dice_loss(logits, labels), abs=1e-5)
    assert found[0] > found[1] > found[2]


def test_options_without_flags_follow_the_weights(tmp_path, unet_file, densenet_file):
    arguments = ['-w', unet_file, '-A', 'elu', '-b', 8, '-e', 3]
    config, variables = pretrained(SegmentationConfig, tmp_path, *arguments)
    assert config == tiny_config(load_weights=str(unet_file), activation='elu')
    assert_equal(variables, keras_network.read(unet_file, {})[1])
    arguments = ['-w', densenet_file, '-L', 'T5,T8', '-t', 7]
    config, variables = pretrained(SliceSelectionConfig, tmp_path, *arguments)
    densenet = config.network
    assert (densenet.levels, densenet.threshold, densenet.growth_rate) == (('T5', 'T8'), 7, 2)
    assert_equal(variables, keras_network.read(densenet_file, {})[1])


def test_options_without_flags_follow_a_run(tmp_path, finished_run):
    for weights in (finished_run.run_dir, finished_run.run_dir / 'final_model'):
        config, variables = pretrained(SegmentationConfig, tmp_path, '-w', weights)
        assert config.network.compression_channels == (4, 8)
        assert_equal((variables,), load_model(weights).variables)
    config, _ = pretrained(SegmentationConfig, finished_run.run_dir, '-w', tmp_path / 'gone')
    assert config.network.compression_channels == (4, 8)  # that run continues


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ['-N', '2'],
            '--num_convs=1, not --num_convs=2: layer compression_0_conv_1 is missing',
        ),
        (
            ['-C', '4,9', '-M', '4'],
            r'4,8, not --\w+=4,9: .*center_conv_0 has shape \(3, 3, 4, 8\), expected \(3',
        ),
        (
            ['-C', '4,8,8', '-M', '8,4'],
            'this network has --compression_channels=4,8, not --compression_channels=4,8,8',
        ),
        (
            ['-t'],
            '--nothoracic_model, not --thoracic_model: the kernel of layer final_conv has '
            r'shape \(1, 1, 4, 4',
        ),
    ],
)
def test_flags_that_contradict_the_file_are_named(tmp_path, unet_file, arguments, message):
    with pytest.raises(InputError, match=message):
        pretrained(SegmentationConfig, tmp_path, '-w', unet_file, *arguments)


def test_networks_of_the_other_trainer_are_refused(tmp_path, unet_file, densenet_file):
    unet_message = r'is a segmentation network: .*compression_0_conv_0'
    with pytest.raises(InputError, match=unet_message):
        pretrained(SliceSelectionConfig, tmp_path, '-w', unet_file)
    densenet_message = r'initial_conv2D with kernel \(7, 7, 1, 4\), expected com'
    with pytest.raises(InputError, match=densenet_message):
        pretrained(SegmentationConfig, tmp_path, '-w', densenet_file)
    with pytest.raises(InputError, match=unet_message):
        keras_network.read_options(unet_file, DenseNetConfig.kind)
    with pytest.raises(InputError, match=densenet_message):
        keras_network.read_options(densenet_file, UNetConfig.kind)


def test_overrides_must_agree_with_the_network(densenet_file, finished_run):
    for levels in (('L1', 'L3'), ['L1', 'L3']):
        assert load_model(densenet_file, levels=levels).config.levels == ('L1', 'L3')
    message = r'invalid --levels=L3: name as many levels as the network has outputs \(2\)'
    with pytest.raises(InputError, match=message):
        load_model(densenet_file, levels=('L3',))
    with pytest.raises(InputError, match='--num_convs does not apply to a slice_selection'):
        load_model(densenet_file, num_convs=2)
    message = 'this network has --activation=relu, not --activation=elu'
    with pytest.raises(InputError, match=message):
        load_model(finished_run.run_dir, activation='elu')


def test_convert_weights_takes_options_that_the_file_leaves_open(
    tmp_path, unet_file, monkeypatch, capsys
):
    out = tmp_path / 'final_model'
    arguments = [unet_file, out, '-A', 'elu', '--noapply_window_function']
    assert convert(monkeypatch, capsys, *arguments)[0] == 0
    config = load_model(out).config
    assert (config.activation, config.apply_window_function) == ('elu', False)
    code, error = convert(monkeypatch, capsys, unet_file, out)
    assert code == 2
    assert 'exists; remove it' in error


@pytest.fixture(params=['from Keras', 'to Keras'])
def source(request, unet_file, finished_run):
    """What a conversion reads: a Keras file, or the final model of a run."""
    return unet_file if request.param == 'from Keras' else finished_run.run_dir / 'final_model'


def test_a_conversion_that_cannot_be_written_leaves_nothing(tmp_path, source, monkeypatch, capsys):
    before = sorted(tmp_path.rglob('*'))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # bytes of a file: a full disk
    try:
        code, error = convert(monkeypatch, capsys, source, tmp_path / 'new' / 'out')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1
    assert f'{tmp_path}/new/out: cannot be written (' in error
    assert len(error.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize('name', ['wei[g]hts', "o'ut *? a\\b größe"])
def test_a_conversion_is_written_under_any_name(tmp_path, source, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    network.convert(source, f'[x]/{name}', {})
    assert_equal(load_model(f'[x]/{name}').variables, load_model(source).variables)
    assert list((tmp_path / '[x]').iterdir()) == [tmp_path / '[x]' / name]


def test_targets_that_exist_or_are_in_no_folder_are_refused(
    tmp_path, source, unet_file, monkeypatch, capsys
):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'link').symlink_to('nowhere')
    before = sorted(tmp_path.rglob('*'))
    for target, message in (
        ('folder', 'exists; remove it or choose another path'),
        ('link', 'exists; remove it or choose another path'),
        ('unet.hdf5/out', f'{unet_file} is not a folder; choose another output folder'),
    ):
        code, error = convert(monkeypatch, capsys, source, tmp_path / target)
        assert code == 2
        assert message in error
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize('name', ['new.keras', 'new.weights.h5'])
def test_endings_of_keras_3_are_refused(tmp_path, finished_run, name):
    with pytest.raises(InputError, match=r'formats of Keras 3; name it \.hdf5'):
        network.convert(finished_run.run_dir / 'final_model', tmp_path / name, {})


def test_what_is_converted_is_read_back(tmp_path, source, monkeypatch, capsys):
    write_keras, write_folder = keras_network.write, store.write

    def zeros(variables):
        return jax.tree.map(np.zeros_like, variables)

    def wrong_keras(path, config, variables):
        write_keras(path, config, zeros(variables))

    def wrong_folder(path, variables, config):
        write_folder(path, variables=zeros(variables), config=config)

    monkeypatch.setattr(keras_network, 'write', wrong_keras)
    monkeypatch.setattr(store, 'write', wrong_folder)
    code, error = convert(monkeypatch, capsys, source, tmp_path / 'out')
    assert code == 1
    assert 'what was written is not what is read back' in error
    assert not (tmp_path / 'out').exists()


def test_networks_with_non_finite_weights_are_not_converted(tmp_path, unet_file):
    config, variables = keras_network.read(unet_file, {})
    variables['params']['final_conv']['bias'] = np.full(4, np.nan, np.float32)
    fields = to_json(from_values(SegmentationConfig, to_values(config)))
    model = tmp_path / 'diverged'
    store.write(str(model), variables=variables, config=fields)
    with pytest.raises(InputError, match=f'^{model}: non-finite weights; choose an earlier check'):
        network.convert(model, tmp_path / 'out', {})


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'network_size': 64}, 'this network resizes .*--network_size=64'),
        ({'pixel_shuffle': 2}, 'this network takes several pixels as one .*--pixel_shuffle=2'),
    ],
)
def test_a_network_that_keras_cannot_compute_is_not_converted(tmp_path, options, message):
    config = tiny_config(**options)
    model = tmp_path / 'own'
    store.write(str(model), variables=drawn_variables(config.network), config=to_json(config))
    with pytest.raises(InputError, match=f'^{model}: {message}'):
        network.convert(model, tmp_path / 'out', {})
    assert not (tmp_path / 'out').exists()


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
        r'layer decompression_0_conv_0 is missing, expected with shape \(3, 3, 12, 4\)',
    ),
    'no center': (unet_layers, without('compression_center_norm_0'), 'center_norm_0 is missing'),
    'no end': (unet_layers, without('final_conv'), 'layer final_conv is missing'),
    'extra': (
        unet_layers,
        lambda x: x.update(conv2d_7=weighted(1, 1, 4, 4)),
        'unexpected layer conv2d_7',
    ),
    'classes': (
        unet_layers,
        with_value('final_conv', 'kernel', np.ones((1, 1, 4, 5))),
        '5 classes',
    ),
    'shape': (
        unet_layers,
        with_value('decompression_0_norm_0', 'beta', np.ones(3)),
        r'the beta of layer decompression_0_norm_0 has shape \(3,\), expected \(4,\)',
    ),
    'no bias': (unet_layers, lambda x: x['final_conv'].pop('bias'), 'the bias .* is missing'),
    'nan': (
        unet_layers,
        with_value('compression_0_norm_0', 'gamma', [1, 2, np.nan, 4]),
        'the gamma of layer compression_0_norm_0 has non-finite values',
    ),
    'densenet': (
        densenet_layers,
        without('conv2d_26'),
        r'the kernel of layer conv2d_27 has shape \(1, 1, 5, 8\), expected \(3, 3, 8, 2\)',
    ),
    'no norm': (densenet_layers, without('batch_normalization_29'), '_9 is missing'),
    'two ends': (
        densenet_layers,
        lambda x: x.update(dense_2=weighted(4, 2)),
        'unexpected layer dense_2',
    ),
    'others': (
        lambda: {'conv1': weighted(7, 7, 3, 64)},
        lambda layers: None,
        r'not a network of the reference: its first convolution is conv1 with kernel \(7, 7, 3',
    ),
}


@pytest.mark.parametrize('wrong', WRONG_LAYERS)
def test_the_first_layer_that_does_not_fit_is_named(tmp_path, wrong):
    make, damage, message = WRONG_LAYERS[wrong]
    layers = make()
    damage(layers)
    path = write_keras_2(tmp_path / 'net.hdf5', layers)
    with pytest.raises(InputError, match=f'^{path}: .*{message}'):
        keras_network.read(path, {})


@pytest.mark.parametrize(
    ('activations', 'message'),
    [
        (['gelu', 'gelu', 'gelu', 'softmax'], 'unsupported activation gelu; only .* relu, elu,'),
        (['elu', 'relu', 'elu', 'softmax'], 'activation_1 has .* relu, expected elu'),
        (['relu', 'relu', 'relu', 'sigmoid'], 'activation sigmoid, expected softmax'),
        (['relu', 'relu', 'softmax'], 'activation softmax, expected relu'),
    ],
)
def test_other_activations_than_the_reference_s_are_refused(tmp_path, activations, message):
    path = write_keras_2(tmp_path / 'net.hdf5', unet_layers(), architecture(*activations))
    with pytest.raises(InputError, match=message):
        keras_network.read(path, {})
