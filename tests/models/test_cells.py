import jax
import numpy as np
import pytest

from bodycomp_jax.models.layers.cells import (
    cell_side,
    diagonal_kernel,
    fold,
    kernel_between,
    unfold,
)
from bodycomp_jax.models.layers.convolution import convolve, pointwise
from bodycomp_jax.models.layers.norm import BatchNorm
from bodycomp_jax.models.layers.pooling import max_pool

SIDES = [2, 4]


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype('f4')


@pytest.fixture(scope='module')
def kernel():
    return np.random.default_rng(1).normal(size=(3, 3, 3, 5)).astype('f4')


@pytest.mark.parametrize(
    'platform, expected',
    [
        ('cpu', [1, 1, 1, 1, 1, 1, 1]),
        ('gpu', [2, 2, 2, 2, 1, 1, 1]),
        ('tpu', [4, 4, 4, 2, 2, 1, 1]),
    ],
)
def test_cells_fill_the_channels_of_a_platform_where_they_can(platform, expected):
    channels = (1, 8, 16, 32, 64, 128, 512)
    assert [cell_side(n, halvings=5, platform=platform) for n in channels] == expected


def test_cells_are_not_larger_than_the_network_divides():
    assert [cell_side(1, halvings, 'tpu') for halvings in range(4)] == [1, 2, 4, 4]


@pytest.mark.parametrize('platform', ['gpu', 'tpu'])
@pytest.mark.parametrize('r', [1, *SIDES])
def test_folding_moves_the_pixels_of_a_cell_into_its_channels(images, r, platform):
    cells = fold(images, r)
    B, H, W, C = images.shape
    assert cells.shape == (B, H // r, W // r, r * r * C)
    np.testing.assert_array_equal(
        np.sort(cells[1, 1, 1]), np.sort(images[1, r : 2 * r, r : 2 * r].ravel())
    )
    np.testing.assert_array_equal(unfold(cells, r, platform), images)


@pytest.mark.parametrize('r', SIDES)
def test_the_first_quarter_is_every_second_pixel(images, r):
    quarter = fold(images, r)[..., : images.shape[-1] * r * r // 4]
    np.testing.assert_array_equal(quarter, fold(images[:, ::2, ::2], r // 2))


@pytest.mark.parametrize('r', SIDES)
def test_a_convolution_of_cells_is_that_of_the_image(images, kernel, r):
    found = unfold(convolve(fold(images, r), kernel_between(kernel, r, r)), r, 'tpu')
    np.testing.assert_allclose(found, convolve(images, kernel), atol=1e-4)


@pytest.mark.parametrize('r', SIDES)
def test_a_convolution_to_larger_cells_is_that_of_the_upsampled_image(images, kernel, r):
    found = unfold(convolve(fold(images, r // 2), kernel_between(kernel, r // 2, r)), r, 'tpu')
    upsampled = images.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(found, convolve(upsampled, kernel), atol=1e-4)


@pytest.mark.parametrize('r', SIDES)
def test_the_diagonal_kernel_sees_one_pixel(images, kernel, r):
    pixel = kernel[1:2, 1:2]
    found = unfold(pointwise(fold(images, r), diagonal_kernel(pixel, r), 'tpu'), r, 'tpu')
    np.testing.assert_allclose(found, pointwise(images, pixel, 'cpu'), atol=1e-5)


@pytest.mark.parametrize('r', SIDES)
def test_pooling_and_its_gradient_are_those_of_the_image(images, r):
    images = images.round()  # with equal maxima

    def of_cells(images):
        return unfold(max_pool(fold(images, r), r), r // 2, 'tpu')

    results = []
    for function in (of_cells, max_pool):
        pooled, pullback = jax.vjp(function, images)
        results.append((pooled, pullback(np.arange(pooled.size, dtype='f4').reshape(pooled.shape))))
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_the_norm_of_cells_is_that_of_the_image(images):
    C = images.shape[-1]
    variables = {
        'params': {'scale': np.arange(1.0, C + 1), 'bias': np.arange(C) - 1.0},
        'batch_stats': {'mean': np.zeros(C), 'var': np.ones(C)},
    }

    def normed(x, pixels):
        norm = BatchNorm(True, jax.nn.relu, None, pixels)
        return norm.apply(variables, x, mutable=['batch_stats'])

    y, changed = normed(images, 1)
    of_cells, changed_by_cells = normed(fold(images, 2), 4)
    np.testing.assert_allclose(unfold(of_cells, 2, 'tpu'), y, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), changed, changed_by_cells
    )
