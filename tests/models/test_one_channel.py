import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax.models.layers.convolution import convolve
from bodycomp_jax.models.layers.one_channel import strided_7x7


def library(x, kernel):
    return convolve(x, kernel, strides=(2, 2), padding=((2, 3), (2, 3)))


def values(dtype, convolution):
    """(result, gradient of the kernel)."""
    random = np.random.default_rng(0)
    x, dy = random.uniform(0, 255, (2, 14, 20, 1)), random.normal(size=(2, 7, 10, 5))
    x, dy = x.astype(dtype), dy.astype(dtype)

    @jax.jit
    def of_kernel(kernel):
        y, pullback = jax.vjp(lambda kernel: convolution(x, kernel), kernel)
        return y, *pullback(dy)

    return of_kernel(random.normal(size=(7, 7, 1, 5)).astype(dtype))


@pytest.mark.parametrize('platform', ['cpu', 'gpu'])
def test_results_and_gradients_equal_the_library(platform):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-3),
        values(jnp.float32, lambda x, kernel: strided_7x7(x, kernel, platform)),
        values(jnp.float32, library),
    )


def test_bfloat16_is_the_type_of_the_results():
    y, gradient = values(jnp.bfloat16, lambda x, kernel: strided_7x7(x, kernel, 'cpu'))
    assert {y.dtype.name, gradient.dtype.name} == {'bfloat16'}
    np.testing.assert_allclose(y.astype('f4'), values(jnp.float32, library)[0], rtol=0.02, atol=8)
