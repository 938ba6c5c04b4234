import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from bodycomp_jax.models.layers.convolution import PRECISION
from bodycomp_jax.models.layers.one_channel import strided_7x7


def values(dtype, conv_general_dilated=None):
    """(result, gradients of the parameters) of a layer."""
    random = np.random.default_rng(0)
    x = random.uniform(0, 255, (2, 14, 20, 1)).astype('f4')
    params = {'kernel': random.normal(size=(7, 7, 1, 5)), 'bias': random.normal(size=5)}
    params = jax.tree.map(np.float32, params)
    dy = random.normal(size=(2, 7, 10, 5)).astype(dtype)
    layer = nn.Conv(
        5,
        (7, 7),
        strides=2,
        dtype=dtype,
        precision=PRECISION,
        conv_general_dilated=conv_general_dilated,
    )

    @jax.jit
    def of_parameters(params):
        y, pullback = jax.vjp(lambda params: layer.apply({'params': params}, x), params)
        return y, pullback(dy)

    return of_parameters(params)


def test_results_and_gradients_equal_the_library():
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-3),
        values(jnp.float32, strided_7x7),
        values(jnp.float32),
    )


def test_bfloat16_is_the_type_of_the_result_alone():
    y, (gradients,) = values(jnp.bfloat16, strided_7x7)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(gradients)} == {'float32'}
    np.testing.assert_allclose(y.astype('f4'), values(jnp.float32)[0], rtol=0.02, atol=8)
