import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax.models.layers.cell_convolution import convolve_cells
from bodycomp_jax.models.layers.cells import (
    PIXEL,
    SQUARE,
    Cell,
    cells_of_levels,
    diagonal_kernel,
    fold,
    fold_labels,
    unfold,
)
from bodycomp_jax.models.layers.convolution import convolve, pointwise
from bodycomp_jax.models.layers.norm import BatchNorm
from bodycomp_jax.models.layers.pooling import max_pool
from bodycomp_jax.models.layers.unet_convolution import conv, conv_of_maxima

CELLS = [Cell(1, 2), Cell(2, 2), Cell(2, 4), Cell(4, 4)]


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(0).normal(size=(2, 8, 16, 3)).astype('f4')


@pytest.fixture(scope='module')
def kernel():
    return np.random.default_rng(1).normal(size=(3, 3, 3, 5)).astype('f4')


def sides(cells):
    return [f'{cell.height}{cell.width}' for cell in cells]


@pytest.mark.parametrize(
    'channels, platform, down, up',
    [
        ((16, 32, 64, 128, 256, 512), 'cpu', ['11'] * 6, ['11'] * 5),
        ((16, 32, 64, 128, 256, 512), 'gpu', ['22'] + ['11'] * 5, ['11'] * 4 + ['22']),
        ((64, 128), 'gpu', ['11', '11'], ['11']),
        ((16,), 'gpu', ['11'], []),
        ((16, 32, 64, 128, 256, 512), 'tpu', ['44', '22', '12'] + ['11'] * 3,
         ['11', '11', '12', '22', '24']),
        ((16,), 'tpu', ['11'], []),
        ((64, 128), 'tpu', ['12', '11'], ['12']),
        ((4, 8, 16), 'tpu', ['44', '22', '11'], ['22', '44']),  # as the network divides
        ((8, 100, 8, 8), 'tpu', ['44', '12', '22', '11'], ['22', '12', '44']),
    ],
)  # fmt: skip
def test_cells_fill_the_channels_of_a_platform(channels, platform, down, up):
    cells = cells_of_levels(channels, channels[-2::-1], platform)
    assert (sides(cells.down), sides(cells.up)) == (down, up)


@pytest.mark.parametrize('platform', ['gpu', 'tpu'])
@pytest.mark.parametrize('cell', [PIXEL, *CELLS])
def test_folding_moves_the_pixels_of_a_cell_into_its_channels(images, cell, platform):
    cells = fold(images, cell)
    B, H, W, C = images.shape
    h, w = cell
    assert cells.shape == (B, H // h, W // w, h * w * C)
    np.testing.assert_array_equal(
        np.sort(cells[1, 1, 1]), np.sort(images[1, h : 2 * h, w : 2 * w].ravel())
    )
    np.testing.assert_array_equal(unfold(cells, cell, platform), images)


@pytest.mark.parametrize('platform', ['gpu', 'tpu'])
@pytest.mark.parametrize('cell', [PIXEL, *CELLS])
def test_labels_are_folded_as_images_are(cell, platform):
    labels = np.random.default_rng(2).integers(0, 256, (2, 8, 16, 2)).astype('u1')
    np.testing.assert_array_equal(fold_labels(labels, cell, platform), fold(labels, cell))


@pytest.mark.parametrize('cell', CELLS)
def test_the_first_part_is_every_second_pixel(images, cell):
    half = cell.halved
    part = fold(images, cell)[..., : images.shape[-1] * half.pixels]
    every_second = images[:, :: cell.height // half.height, :: cell.width // half.width]
    np.testing.assert_array_equal(part, fold(every_second, half))


@pytest.mark.parametrize('upsampling', [1, 2])
@pytest.mark.parametrize('to', [PIXEL, *CELLS])
@pytest.mark.parametrize('cell', [PIXEL, *CELLS])
def test_a_convolution_of_cells_and_its_gradients_are_those_of_the_image(
    images, kernel, cell, to, upsampling
):
    large = images.repeat(upsampling, axis=1).repeat(upsampling, axis=2)
    weights = np.random.default_rng(3).normal(size=(*large.shape[:3], 5)).astype('f4')

    def of_cells(images, kernel):
        y = convolve_cells(fold(images, cell), kernel, cell, to, upsampling)
        return unfold(y, to, 'gpu')

    def of_images(images, kernel):
        return convolve(images.repeat(upsampling, axis=1).repeat(upsampling, axis=2), kernel)

    results = []
    for function in (of_cells, of_images):
        y, pullback = jax.vjp(function, jnp.asarray(images), jnp.asarray(kernel))
        results.append((y, pullback(weights)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), *results)


@pytest.mark.parametrize('cell', CELLS)
def test_the_diagonal_kernel_sees_one_pixel(images, kernel, cell):
    pixel = kernel[1:2, 1:2]
    found = unfold(pointwise(fold(images, cell), diagonal_kernel(pixel, cell), 'tpu'), cell, 'tpu')
    np.testing.assert_allclose(found, pointwise(images, pixel, 'cpu'), atol=1e-5)


@pytest.mark.parametrize('cell', CELLS)
def test_pooling_and_its_gradient_are_those_of_the_image(images, cell):
    images = images.round()  # with equal maxima

    def of_cells(images):
        return unfold(max_pool(fold(images, cell), cell), cell.halved, 'tpu')

    results = []
    for function in (of_cells, max_pool):
        pooled, pullback = jax.vjp(function, images)
        results.append((pooled, pullback(np.arange(pooled.size, dtype='f4').reshape(pooled.shape))))
    jax.tree.map(np.testing.assert_array_equal, *results)


@pytest.mark.parametrize('dtype', [np.float32, jnp.bfloat16])
@pytest.mark.parametrize('to', [PIXEL, SQUARE])
@pytest.mark.parametrize('cell', [Cell(1, 2), SQUARE, Cell(4, 4)])
def test_the_convolution_of_maxima_and_its_gradients_are_those_of_the_image(
    images, kernel, cell, to, dtype
):
    images = images.round().astype(dtype)  # with equal maxima

    def of_cells(images, kernel):
        pooled = conv_of_maxima(fold(images, cell), kernel, 'tpu', cell, to)
        return unfold(pooled.astype(np.float32), to, 'tpu')

    def of_images(images, kernel):
        return conv(max_pool(images), kernel, 'gpu').astype(np.float32)

    results = []
    for function in (of_cells, of_images):
        y, pullback = jax.vjp(function, images, kernel)
        weights = np.random.default_rng(1).integers(-2, 3, y.shape).astype('f4')
        results.append((y, pullback(weights)))
    atol = 1e-3 if dtype == np.float32 else 0.5
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            np.asarray(a, 'f4'), np.asarray(b, 'f4'), atol=atol, rtol=1e-2
        ),
        *results,
    )


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
    of_cells, changed_by_cells = normed(fold(images, SQUARE), 4)
    np.testing.assert_allclose(unfold(of_cells, SQUARE, 'tpu'), y, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), changed, changed_by_cells
    )
