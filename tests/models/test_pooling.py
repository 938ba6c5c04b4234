import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bodycomp_jax.models.layers.pooling import max_pool, mean_pool, overlapping_max_pool


def assert_same(function, library, x, dy):
    """Equal results and gradients."""

    @functools.partial(jax.jit, static_argnums=0)
    def with_gradient(function, x, dy):
        y, pullback = jax.vjp(function, x)
        return y, pullback(dy)

    results = [with_gradient(each, x, dy) for each in (function, library)]
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_max_pool_and_its_gradient_equal_the_library():
    random = np.random.default_rng(0)
    x, dy = (random.normal(size=shape).astype('f4') for shape in ((2, 6, 8, 3), (2, 3, 4, 3)))
    assert_same(max_pool, lambda x: nn.max_pool(x, (2, 2), (2, 2)), x, dy)


@pytest.mark.parametrize('shape', [(2, 6, 8, 3), (2, 7, 5, 3)])
def test_mean_pool_and_its_gradient_equal_the_library(shape):
    random = np.random.default_rng(0)
    x = random.normal(0, 9, shape).round().astype('f4')
    pooled = (shape[0], shape[1] // 2, shape[2] // 2, shape[3])
    dy = random.normal(0, 9, pooled).round().astype('f4')
    assert_same(mean_pool, lambda x: nn.avg_pool(x, (2, 2), strides=(2, 2)), x, dy)


@pytest.mark.parametrize('platform', ['cpu', 'gpu'])
@pytest.mark.parametrize('shape', [(2, 9, 12, 3), (1, 3, 4, 2), (1, 16, 15, 2)])
def test_overlapping_max_pool_and_its_gradient_equal_the_library(shape, platform):
    random = np.random.default_rng(0)
    x = random.normal(0, 2, shape).round().astype('f4')  # with equal maxima
    pooled = (shape[0], (shape[1] - 1) // 2, (shape[2] - 1) // 2, shape[3])
    dy = random.normal(0, 9, pooled).round().astype('f4')
    pool = functools.partial(overlapping_max_pool, platform=platform)
    assert_same(pool, lambda x: nn.max_pool(x, (3, 3), strides=(2, 2)), x, dy)


def test_first_of_equal_maxima_receives_the_gradient():
    x = jnp.array([[0, 1, 5, 5], [1, 1, 2, 5]], jnp.float32)[None, :, :, None]
    gradient = jax.grad(lambda x: max_pool(x).sum())(x)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 1, 1, 0], [0, 0, 0, 0]])
