import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax.models.layers.logits import logits_of_cells

CLASSES = 4


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_logits_in_lanes_and_their_gradients_are_float32_products(dtype):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(2, 4, 6, 8)), dtype)
    kernel = random.normal(size=(1, 1, 8, 16 * CLASSES)).astype('f4')
    bias = random.normal(size=16 * CLASSES).astype('f4')
    weights = random.normal(size=(2, 4, 6, 16, CLASSES)).astype('f4')

    def of(platform):
        def logits(x, kernel, bias):
            found = logits_of_cells(x, kernel, bias, CLASSES, platform)
            if platform == 'tpu':
                found = found.reshape(16, 4, 6, 2, CLASSES).transpose(3, 1, 2, 0, 4)
            return found

        y, pullback = jax.vjp(logits, x, kernel, bias)
        return y, pullback(weights)

    found, expected = of('tpu'), of('gpu')
    assert found[1][0].dtype == dtype
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected
    )
