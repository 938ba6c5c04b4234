import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax.models.layers.convolution import convolve
from bodycomp_jax.models.layers.narrow import narrow_conv

ON_CPU = functools.partial(narrow_conv, platform='cpu')


def values(shape, dtype, convolution=convolve):
    """(result, gradients of the input and of the kernel)."""
    *images, O = shape
    random = np.random.default_rng(0)
    x, kernel, dy = (
        random.normal(size=shape).astype(dtype)
        for shape in (images, (3, 3, images[-1], O), (*images[:-1], O))
    )

    @jax.jit
    def of_inputs(x, kernel):
        y, pullback = jax.vjp(convolution, x, kernel)
        return y, pullback(dy)

    return of_inputs(x, kernel)


@pytest.mark.parametrize('shape', [(2, 5, 6, 8, 3), (3, 1, 2, 4, 5)])  # B, H, W, C, O
def test_results_and_gradients_equal_the_library(shape):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        values(shape, jnp.float32, ON_CPU),
        values(shape, jnp.float32),
    )


def test_bfloat16_gradients_are_those_of_float32_rounded():
    shape = (2, 5, 6, 8, 3)
    rounded, exact = values(shape, jnp.bfloat16, ON_CPU), values(shape, jnp.float32)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a.astype('f4'), b, rtol=0.02, atol=0.2),
        rounded,
        exact,
    )
