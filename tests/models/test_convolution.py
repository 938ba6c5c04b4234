import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bodycomp_jax.models.layers import convolution

SHAPES = [(2, 6, 8, 3, 5), (1, 4, 4, 32, 24), (3, 1, 2, 1, 1)]  # B, H, W, C, O


def plain(x, kernel):
    return nn.Conv(kernel.shape[-1], (3, 3), use_bias=False, precision=convolution.PRECISION).apply(
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
@pytest.mark.parametrize('platform', ['cpu', 'default'])
@pytest.mark.parametrize(
    ('fast', 'reference'),
    [(convolution.conv, plain), (convolution.conv_of_upsampled, plain_of_upsampled)],
)
def test_results_and_gradients_equal_the_library(monkeypatch, fast, reference, platform, shape):
    def chosen(*args, cpu, default):
        return {'cpu': cpu, 'default': default}[platform](*args)

    monkeypatch.setattr(jax.lax, 'platform_dependent', chosen)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        values(fast, shape),
        values(reference, shape),
    )


def test_precision_is_that_of_the_image_except_for_the_gradient_of_the_kernel():
    for function in (convolution.conv, convolution.conv_of_upsampled):
        y, (dx, dk) = values(function, SHAPES[1], jnp.bfloat16)
        assert (y.dtype, dx.dtype, dk.dtype) == (jnp.bfloat16, jnp.bfloat16, jnp.float32)


def test_only_the_branch_of_the_platform_is_compiled():
    x, kernel = jnp.zeros((1, 4, 4, 32)), jnp.zeros((3, 3, 32, 32))
    gradient = jax.jit(jax.grad(lambda k: convolution.conv(x, k).sum()))
    assert 'conditional' not in gradient.lower(kernel).compile().as_text()
