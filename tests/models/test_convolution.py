import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bodycomp_jax.models.layers.convolution import PRECISION
from bodycomp_jax.models.layers.unet_convolution import conv, conv_of_upsampled

SHAPES = [(2, 6, 8, 3, 5), (1, 4, 4, 32, 24), (3, 1, 2, 1, 1)]  # B, H, W, C, O


def plain(x, kernel):
    return nn.Conv(kernel.shape[-1], (3, 3), use_bias=False, precision=PRECISION).apply(
        {'params': {'kernel': kernel}}, x
    )


def plain_of_upsampled(x, kernel):
    return plain(x.repeat(2, axis=1).repeat(2, axis=2), kernel)


def values(function, shape, dtype=jnp.float32):
    """(result, gradients of a weighted sum of the result)."""
    B, H, W, C, O = shape
    random = np.random.default_rng(0)
    x = random.normal(size=(B, H, W, C)).astype(dtype)
    kernel = random.normal(size=(3, 3, C, O)).astype('f4')
    weights = random.normal(size=jax.eval_shape(function, x, kernel).shape).astype(dtype)

    @jax.jit
    def of_inputs(x, kernel):
        y, pullback = jax.vjp(function, x, kernel)
        return y, pullback(weights)

    return of_inputs(x, kernel)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('platform', ['cpu', 'gpu'])
@pytest.mark.parametrize(
    ('fast', 'reference'), [(conv, plain), (conv_of_upsampled, plain_of_upsampled)]
)
def test_results_and_gradients_equal_the_library(fast, reference, platform, shape):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        values(functools.partial(fast, platform=platform), shape),
        values(reference, shape),
    )


@pytest.mark.parametrize('platform', ['cpu', 'gpu'])
@pytest.mark.parametrize('function', [conv, conv_of_upsampled])
def test_precision_is_that_of_the_image_except_for_the_gradient_of_the_kernel(function, platform):
    fast = functools.partial(function, platform=platform)
    y, (dx, dk) = values(fast, SHAPES[1], jnp.bfloat16)
    assert (y.dtype, dx.dtype, dk.dtype) == (jnp.bfloat16, jnp.bfloat16, jnp.float32)


@pytest.mark.parametrize('function', [conv, conv_of_upsampled])
def test_no_convolution_has_a_window_larger_than_the_kernel(function):
    """Libraries of GPUs have no fast convolution for the window of a whole image."""
    x, kernel = jnp.zeros((1, 32, 32, 8)), jnp.zeros((3, 3, 8, 16))

    def loss(x, kernel):
        return (function(x, kernel, 'gpu') ** 2).sum()

    text = jax.jit(jax.grad(loss, (0, 1))).lower(x, kernel).as_text('hlo')
    windows = [int(n) for sides in re.findall(r'window={size=(\d+)x(\d+)', text) for n in sides]
    assert len(windows) == 6
    assert max(windows) <= 32
