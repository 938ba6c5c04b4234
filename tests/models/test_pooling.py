import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bodycomp_jax.models.layers.pooling import max_pool, overlapping_max_pool


def test_max_pool_and_its_gradient_equal_the_library():
    x = jax.random.normal(jax.random.key(0), (2, 6, 8, 3))
    dy = jax.random.normal(jax.random.key(1), (2, 3, 4, 3))
    results = [
        jax.vjp(function, x) for function in (max_pool, lambda x: nn.max_pool(x, (2, 2), (2, 2)))
    ]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1](dy)[0], results[1][1](dy)[0])


@pytest.mark.parametrize('shape', [(2, 9, 12, 3), (1, 3, 4, 2), (1, 16, 15, 2)])
def test_overlapping_max_pool_and_its_gradient_equal_the_library(shape):
    x = jnp.round(2 * jax.random.normal(jax.random.key(0), shape))  # with equal maxima

    def library(x):
        return nn.max_pool(x, (3, 3), strides=(2, 2))

    results = [jax.vjp(function, x) for function in (overlapping_max_pool, library)]
    dy = jnp.round(9 * jax.random.normal(jax.random.key(1), results[0][0].shape))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1](dy)[0], results[1][1](dy)[0])


def test_first_of_equal_maxima_receives_the_gradient():
    x = jnp.array([[0, 1, 5, 5], [1, 1, 2, 5]], jnp.float32)[None, :, :, None]
    gradient = jax.grad(lambda x: max_pool(x).sum())(x)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 1, 1, 0], [0, 0, 0, 0]])
