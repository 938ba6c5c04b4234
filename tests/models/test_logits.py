import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax.models.layers.cells import PIXEL, SQUARE, Cell
from bodycomp_jax.models.layers.logits import labels_of_cells, logits_of_cells

CLASSES = 4


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_logits_in_lanes_and_their_gradients_are_float32_products(dtype):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(2, 4, 6, 16)), dtype)  # cells of 2 x 4 pixels
    kernel = random.normal(size=(1, 1, 2, 2 * CLASSES)).astype('f4')
    bias = random.normal(size=2 * CLASSES).astype('f4')
    weights = random.normal(size=(2, 4, 6, 16, CLASSES)).astype('f4')

    def of(platform, in_lanes):
        def logits(x, kernel, bias):
            found = logits_of_cells(
                x,
                kernel,
                bias,
                classes=CLASSES,
                cell=Cell(2, 4),
                platform=platform,
                in_lanes=in_lanes,
            )
            if in_lanes:
                found = found.reshape(16, 4, 6, 2, CLASSES).transpose(3, 1, 2, 0, 4)
            return found

        y, pullback = jax.vjp(logits, x, kernel, bias)
        return y, pullback(weights)

    found, expected = of('tpu', True), of('gpu', False)
    assert found[1][0].dtype == dtype
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected
    )


@pytest.mark.parametrize('platform', ['gpu', 'tpu'])
def test_labels_are_where_the_logits_of_their_pixels_are(platform):
    masks = np.arange(2 * 8 * 12, dtype='u1').reshape(2, 8, 12)
    labels = labels_of_cells(masks, (SQUARE, PIXEL), platform)
    assert labels.dtype == masks.dtype
    first = labels[:, 0, 0] if platform == 'gpu' else labels[:, 0, :2].T
    np.testing.assert_array_equal(first, masks[:, :2, :2].reshape(2, 4))
