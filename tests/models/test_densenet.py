import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import drawn_variables, smooth_images

from bodycomp_jax.config import DenseNetConfig
from bodycomp_jax.models import densenet
from bodycomp_jax.models.build import build_network, variable_shapes
from bodycomp_jax.models.densenet import Conv
from bodycomp_jax.models.layers.norm import BatchNorm


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ('changes', 'parameters', 'statistics'),
    [
        ({}, 664_817, 20_160),
        ({'nb_layers_per_block': 3, 'nb_blocks': 3, 'growth_rate': 4, 'nb_initial_filters': 8},
         8_624, 606),
        ({'levels': ('L1', 'L3'), 'nb_layers_per_block': 2, 'nb_blocks': 2, 'growth_rate': 4,
          'nb_initial_filters': 8, 'omit_norm': True}, 3_514, 0),
    ],
)  # fmt: skip
def test_parameter_counts(changes, parameters, statistics):
    """The defaults sum to 684,977, the count of Keras for the reference's network."""
    variables = variable_shapes(DenseNetConfig(**changes))
    assert count(variables['params']) == parameters
    assert count(variables['batch_stats']) == statistics


def test_sizes_are_those_of_the_reference():
    """128 after the first convolution, 63 after pooling; 31, 15 and 7 in the transitions."""
    config = DenseNetConfig(nb_layers_per_block=2, growth_rate=2, nb_initial_filters=4)
    network = build_network(config)
    _, seen = jax.eval_shape(
        lambda: network.init_with_output(
            jax.random.key(0),
            jnp.zeros((1, 256, 256, 1)),
            capture_intermediates=lambda module, _: isinstance(module, Conv),
            mutable=['params', 'batch_stats', 'intermediates'],
        )
    )
    shapes = {name: out['__call__'][0].image.shape for name, out in seen['intermediates'].items()}
    assert shapes['initial_conv'] == (1, 128, 128, 4)
    assert [shapes[f'transition_{i}_conv'] for i in range(3)] == [
        (1, 31, 31, 4), (1, 15, 15, 4), (1, 7, 7, 4),
    ]  # fmt: skip
    assert shapes['block_0_layer_1_conv_1'] == (1, 63, 63, 2)
    assert shapes['block_3_layer_1_conv_1'] == (1, 7, 7, 2)


def test_first_convolution_pads_like_tensorflow():
    """SAME padding with stride 2 and an even side: 2 before, 3 after."""
    config = DenseNetConfig(nb_layers_per_block=1, nb_blocks=1, growth_rate=1, nb_initial_filters=1)
    network = build_network(config)
    image = np.zeros((1, 16, 16, 1), np.float32)
    image[0, 0, 0] = 1
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)
    variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    kernel = np.arange(49.0, dtype=np.float32).reshape(7, 7, 1, 1)
    variables['params']['initial_conv'] = {'kernel': kernel, 'bias': np.zeros(1, np.float32)}

    @jax.jit
    def initial_conv(variables):
        _, seen = network.apply(
            variables,
            image,
            capture_intermediates=lambda module, _: module.name == 'initial_conv',
            mutable=['intermediates'],
        )
        return seen['intermediates']['initial_conv']['__call__'][0].image

    response = initial_conv(variables)
    assert response[0, :2, :2, 0].tolist() == [[2 * 7 + 2, 2 * 7 + 0], [2, 0]]


def test_initial_biases_are_random_in_convolutions_and_zero_in_the_dense_layer():
    @jax.jit
    def initial_biases():
        config = DenseNetConfig(nb_layers_per_block=1, nb_blocks=1)
        image = jnp.zeros((1, 32, 32, 1))
        params = build_network(config).init(jax.random.key(0), image)['params']
        return params['block_0_layer_0_conv_0']['bias'], params['dense']['bias']

    bias, of_dense = map(np.asarray, initial_biases())
    limit = np.sqrt(6 / (2 * len(bias)))
    assert len(set(bias)) == len(bias)
    assert 0.5 * limit < np.abs(bias).max() <= limit
    assert not of_dense.any()


def adding(*args, **named):
    """A batch norm to which the bias of the convolution is added, as in the paper."""
    norm = BatchNorm(*args, **named)
    return lambda x, bias: norm(x + bias.reshape(1, 1, 1, -1))


@pytest.mark.parametrize('train', [False, True])
def test_biases_that_are_left_to_the_norms_are_as_if_added(monkeypatch, train):
    config = DenseNetConfig(nb_layers_per_block=2, nb_blocks=2, growth_rate=4, nb_initial_filters=8)
    images, variables = smooth_images(64), drawn_variables(config)

    def results():
        network = build_network(config)

        @jax.jit
        def logits_and_stats(variables):
            return network.apply(variables, images, train=train, mutable=['batch_stats'])

        return logits_and_stats(variables)

    found = results()
    monkeypatch.setattr(densenet, 'BatchNorm', adding)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), found, results()
    )


def test_without_norms_biases_are_added():
    config = DenseNetConfig(
        nb_layers_per_block=1, nb_blocks=1, growth_rate=4, nb_initial_filters=8, omit_norm=True
    )
    images, variables = smooth_images(64), drawn_variables(config)
    network = build_network(config)
    gradients = jax.jit(
        jax.grad(lambda params: network.apply({'params': params}, images, train=True).sum())
    )(variables['params'])
    for name in ('initial_conv', 'block_0_layer_0_conv_0', 'block_0_layer_0_conv_1'):
        assert jnp.abs(gradients[name]['bias']).max() > 0


def test_bfloat16_predictions_and_gradients_are_close_to_float32():
    config = DenseNetConfig(nb_layers_per_block=1, nb_blocks=2, growth_rate=4, nb_initial_filters=8)
    images, variables = smooth_images(64), drawn_variables(config)
    target = np.random.default_rng(0).uniform(size=(4, 1)).astype('f4')

    def gradients_and_logits(dtype):
        def loss(params):
            state = {**variables, 'params': params}
            network = build_network(config, dtype=dtype)
            logits, _ = network.apply(state, images, train=True, mutable=['batch_stats'])
            return jnp.abs(jax.nn.sigmoid(logits) - target).mean(), logits

        return jax.jit(jax.grad(loss, has_aux=True))(variables['params'])

    (exact_gradients, exact), (gradients, logits) = map(
        gradients_and_logits, (jnp.float32, jnp.bfloat16)
    )
    assert logits.dtype == jnp.float32
    assert (logits != exact).all()
    np.testing.assert_allclose(logits, exact, atol=0.01)  # logits up to 1.1
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=0.0003),  # gradients up to 0.3
        gradients['dense'],
        exact_gradients['dense'],
    )
    a, b = (jax.flatten_util.ravel_pytree(tree)[0] for tree in (gradients, exact_gradients))
    assert a @ b > 0.99 * jnp.linalg.norm(a) * jnp.linalg.norm(b)


def test_formulations_for_cpu_and_other_platforms_are_equal():
    config = DenseNetConfig(nb_layers_per_block=1, nb_blocks=2, growth_rate=4, nb_initial_filters=8)
    images, variables = smooth_images(32), drawn_variables(config)

    def results(platform):
        def mean(params):
            state = {**variables, 'params': params}
            network = build_network(config).clone(platform=platform)
            logits, changed = network.apply(state, images, train=True, mutable=['batch_stats'])
            return logits.mean(), (logits, changed)

        return jax.jit(jax.grad(mean, has_aux=True))(variables['params'])

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        results('cpu'),
        results('gpu'),
    )
