import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax.training.tasks import resampling


def samples(sample, image, y, x, reach):
    """By index, and by products with a `reach` rows and columns for each part."""

    @jax.jit
    def both(image, y, x):
        by_products = resampling.by_products(sample, image, y, x, reach=lambda *_: reach)
        return resampling.by_index(sample, image, y, x), by_products

    return jax.device_get(both(image, y, x))


def positions(shape, of_shape, turn=0.2):
    """Eighths of pixels, rotated, in both directions beyond the image and from edge to edge."""
    H, W = of_shape
    y, x = np.meshgrid(*(np.linspace(-0.5, 0.5, n) for n in shape), indexing='ij')
    y, x = y - turn * x, x + turn * y
    eighths = [np.round(8 * ((v + 0.5) * n)) / 8 for v, n in ((y, H), (x, W))]
    return [
        jnp.asarray(v.clip(0, n - 1), jnp.float32) for v, n in zip(eighths, of_shape, strict=True)
    ]


@pytest.mark.parametrize(
    ('shape', 'of_shape', 'reach'),
    [
        ((64, 128), (64, 128), 80),  # whole parts
        ((65, 129), (65, 129), 80),  # parts with a rest, an odd number of rows
        ((150, 150), (150, 150), 100),
        ((20, 30), (20, 30), 100),  # smaller than a part
        ((1, 1), (1, 1), 4),
        ((33, 140), (160, 96), 160),  # another size than the image
    ],
)
@pytest.mark.parametrize('sample', [resampling.nearest, resampling.linear])
def test_products_take_the_same_pixels(sample, shape, of_shape, reach):
    image = np.random.default_rng(0).integers(-(2**15), 2**15, of_shape).astype(np.int16)
    expected, found = samples(sample, image, *positions(shape, of_shape), reach)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    'image',
    [
        np.arange(-(2**15), 2**15).astype(np.int16),
        np.arange(2**16).astype(np.uint16),
        np.arange(2**16).astype(np.uint8),
        np.arange(2**16).astype(np.int8),
        (2**24 - np.arange(2**16)).astype(np.int32),
        np.random.default_rng(0).uniform(-2000, 2000, 2**16).astype(np.float32),
        np.ldexp(
            np.random.default_rng(0).uniform(-2, 2, 2**16), np.arange(2**16) % 180 - 80
        ).astype(np.float32),
        np.random.default_rng(0).uniform(-2000, 2000, 2**16).astype(np.float16),
    ],
    ids=lambda image: image.dtype.name,
)
def test_products_keep_every_bit(image):
    image = image.reshape(256, 256)
    y, x = jnp.meshgrid(*(2 * [jnp.arange(255.0, -1.0, -1.0)]), indexing='ij')
    for sample in (resampling.nearest, resampling.linear):
        _, found = samples(sample, image, y, x, 70)
        np.testing.assert_array_equal(found, image[::-1, ::-1].astype(np.float32))


def test_halves_are_rounded_to_even_numbers_in_every_part():
    image = np.random.default_rng(0).permutation(2**14).astype(np.int16).reshape(128, 128)
    halves = jnp.arange(127) + 0.5
    expected, found = samples(
        resampling.nearest, image, *jnp.meshgrid(halves, halves, indexing='ij'), 66
    )
    np.testing.assert_array_equal(found, expected)
