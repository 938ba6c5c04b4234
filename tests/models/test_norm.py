import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax.models.layers.norm import EPSILON, MOMENTUM, BatchNorm

IMAGES = (4, 6, 8, 5)
C = IMAGES[-1]
ACTIVATIONS = {'relu': jax.nn.relu, 'leaky_relu': jax.nn.leaky_relu, 'linear': lambda x: x}


@pytest.fixture(scope='module')
def random():
    return np.random.default_rng(0)


@pytest.fixture(scope='module')
def variables(random):
    return {
        'params': {
            'scale': random.normal(1, 0.3, C).astype('f4'),
            'bias': random.normal(size=C).astype('f4'),
        },
        'batch_stats': {'mean': np.zeros(C, 'f4'), 'var': np.ones(C, 'f4')},
    }


@pytest.fixture(scope='module')
def images(random):
    return (3 * random.normal(size=IMAGES) + np.arange(C)).astype('f4')


def textbook(activation, x, params):
    x = jnp.asarray(x)
    deviations = (x - x.mean((0, 1, 2), keepdims=True)) / jnp.sqrt(
        x.var((0, 1, 2), keepdims=True) + EPSILON
    )
    scale, bias = (params[name].reshape(1, 1, 1, C) for name in ('scale', 'bias'))
    return activation(deviations * scale + bias)


@pytest.mark.parametrize('platform', ['cpu', 'gpu'])
@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_values_and_gradients_are_those_of_the_textbook(
    variables, images, activation, platform, random
):
    norm = BatchNorm(True, ACTIVATIONS[activation], None, platform=platform)
    dy = random.normal(size=IMAGES).astype('f4')

    def fast(x, params):
        return norm.apply({**variables, 'params': params}, x, mutable=['batch_stats'])[0]

    results = []
    for function in (fast, functools.partial(textbook, ACTIVATIONS[activation])):
        y, pull_back = jax.vjp(function, images, variables['params'])
        results.append((y, pull_back(dy)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *results)


def test_running_statistics_follow_those_of_the_batches(variables, images):
    norm = BatchNorm(True, jax.nn.relu, None)
    _, changed = norm.apply(variables, images, mutable=['batch_stats'])
    stats = changed['batch_stats']
    mean, var = images.mean((0, 1, 2)), images.var((0, 1, 2))
    np.testing.assert_allclose(stats['mean'], (1 - MOMENTUM) * mean, rtol=1e-4)
    np.testing.assert_allclose(stats['var'], MOMENTUM + (1 - MOMENTUM) * var, rtol=1e-4)


def test_predictions_use_the_running_statistics(variables, images):
    stats = {'mean': np.arange(C, dtype='f4'), 'var': np.full(C, 9, 'f4')}
    norm = BatchNorm(False, jax.nn.relu, None)
    y = norm.apply({**variables, 'batch_stats': stats}, images)
    scale, bias = variables['params']['scale'], variables['params']['bias']
    expected = (images - stats['mean']) / np.sqrt(9 + EPSILON) * scale + bias
    np.testing.assert_allclose(y, expected.clip(0), rtol=1e-4, atol=1e-5)


def test_what_is_added_before_moves_the_running_mean_alone(variables, images):
    before = np.arange(C, dtype='f4')
    norm = BatchNorm(True, jax.nn.relu, None)

    def normed(x, *before):
        return norm.apply(variables, x, *before, mutable=['batch_stats'])

    (y, changed), (expected, stats) = normed(images, before), normed(images + before)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)
    for name in ('mean', 'var'):
        np.testing.assert_allclose(
            changed['batch_stats'][name], stats['batch_stats'][name], rtol=1e-4
        )
    gradient = jax.grad(lambda before: normed(images, before)[0].sum())(before)
    np.testing.assert_array_equal(gradient, 0)
    norm = BatchNorm(False, jax.nn.relu, None)
    np.testing.assert_allclose(
        norm.apply(variables, images, before),
        norm.apply(variables, images + before),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_batch_over_devices_is_one_batch(variables, images, random):
    dy = random.normal(size=IMAGES).astype('f4')

    def results(axis_name, x, dy):
        norm = BatchNorm(True, jax.nn.relu, axis_name)

        def normed(x, params):
            return norm.apply({**variables, 'params': params}, x, mutable=['batch_stats'])

        y, pull_back, changed = jax.vjp(normed, x, variables['params'], has_aux=True)
        return y, *pull_back(dy), changed

    y, dx, of_params, stats = results(None, images, dy)
    parts = jax.pmap(functools.partial(results, 'devices'), axis_name='devices')(
        images.reshape(2, 2, *IMAGES[1:]), dy.reshape(2, 2, *IMAGES[1:])
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    close(parts[0].reshape(IMAGES), y)
    close(parts[1].reshape(IMAGES), dx)
    jax.tree.map(lambda part, whole: close(part.sum(0), whole), parts[2], of_params)
    jax.tree.map(lambda part, whole: close(part[1], whole), parts[3], stats)


def test_the_type_is_that_of_the_images(variables, images):
    norm = BatchNorm(True, jax.nn.relu, None)
    y, changed = norm.apply(variables, images.astype(jnp.bfloat16), mutable=['batch_stats'])
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(changed)} == {np.dtype('f4')}


def test_the_backward_pass_stores_the_input_and_what_each_channel_has(variables, images):
    norm = BatchNorm(True, jax.nn.relu, None)

    def normed(x):
        return norm.apply(variables, x, mutable=['batch_stats'])[0]

    _, pull_back = jax.vjp(normed, images)
    shapes = [leaf.shape for leaf in jax.tree.leaves(pull_back)]
    assert [shape for shape in shapes if len(shape) > 1] == [IMAGES]
