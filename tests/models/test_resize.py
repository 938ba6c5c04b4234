import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import drawn_variables, smooth_images, tiny_config

from bodycomp_jax.config import UNetConfig, from_json
from bodycomp_jax.errors import InputError
from bodycomp_jax.inference.predictors import Segmenter
from bodycomp_jax.models.build import build_network
from bodycomp_jax.models.layers.resize import from_square, to_square

NETWORK = tiny_config(network_size=16).network


def test_a_pixel_is_the_mean_of_the_whole_pixels_that_it_covers():
    images = jnp.arange(2 * 6 * 6.0).reshape(2, 6, 6, 1)
    small = to_square(images, 2)
    assert small.shape == (2, 2, 2, 1)
    np.testing.assert_allclose(small[1, 0, 1, 0], images[1, :3, 3:].mean())


@pytest.mark.parametrize('side', [24, 40])
def test_a_ramp_stays_a_ramp_at_any_size_and_comes_back(side):
    ramp = jnp.broadcast_to(jnp.arange(32.0)[:, None], (1, 32, 32))[..., None]
    resized = to_square(ramp, side)
    inner = (np.arange(side) + 0.5) * 32 / side - 0.5
    np.testing.assert_allclose(resized[0, 3:-3, 5, 0], inner[3:-3], atol=0.02)
    np.testing.assert_allclose(
        from_square(resized, (32, 32))[0, 4:-4, 5, 0], np.arange(4, 28), atol=0.05
    )


@pytest.mark.parametrize('shape', [(32, 20), (19, 32)])
def test_other_shapes_have_a_margin_that_is_cut_off_again(shape):
    images = 1 + smooth_images(32)[:, : shape[0], : shape[1]]
    square = to_square(jnp.asarray(images), 32)
    assert int((square == 0).sum()) == 4 * (32 * 32 - shape[0] * shape[1])
    np.testing.assert_array_equal(from_square(square, shape), images)


def test_a_slice_of_the_size_is_not_touched():
    def resized(x):
        return from_square(to_square(x, 32), (32, 32))

    images = jnp.zeros((2, 32, 32, 1))
    assert not [e for e in jax.make_jaxpr(resized)(images).eqns if e.primitive.name != 'slice']
    network, plain = (build_network(tiny_config(network_size=n).network) for n in (32, 0))
    variables = drawn_variables(tiny_config().network)
    np.testing.assert_array_equal(*(n.apply(variables, images + 9) for n in (network, plain)))


def test_a_network_resizes_slices_and_its_logits():
    variables = drawn_variables(NETWORK)
    images = jnp.asarray(smooth_images(64))
    at_own_size = build_network(tiny_config().network).apply(variables, to_square(images, 16))
    logits = build_network(NETWORK).apply(variables, images)
    assert logits.shape == (4, 64, 64, 4)
    np.testing.assert_allclose(logits, from_square(at_own_size, (64, 64)), rtol=1e-5)


def test_a_network_windows_the_mean_of_skin_and_air_not_each():
    hu = jnp.full((1, 64, 64, 1), 40.0)
    skin_and_air = hu.at[:, ::2].set(-3024)  # padding counts as air
    variables = drawn_variables(NETWORK)
    logits, of_air = (build_network(NETWORK).apply(variables, x) for x in (skin_and_air, hu - 1064))
    np.testing.assert_array_equal(logits, of_air)


@pytest.mark.parametrize('shape', [(32, 20), (19, 32)])
@pytest.mark.parametrize(('window', 'air'), [(True, -1024), (False, 0)])
def test_what_is_beside_a_slice_is_air(shape, window, air):
    variables = drawn_variables(NETWORK)
    network = build_network(dataclasses.replace(NETWORK, apply_window_function=window))
    images = 1 + jnp.asarray(smooth_images(32))[:, : shape[0], : shape[1]] / 2
    padding = [(0, 0), *(((32 - n) // 2, 32 - n - (32 - n) // 2) for n in shape), (0, 0)]
    padded = jnp.pad(images, padding, constant_values=air)
    logits, of_square = (network.apply(variables, x) for x in (images, padded))
    (top, _), (left, _) = padding[1:3]
    inner = of_square[:, top : top + shape[0], left : left + shape[1]]
    np.testing.assert_array_equal(logits, inner)


def test_a_network_that_resizes_segments_slices_of_any_matrix():
    segmenter = Segmenter([(NETWORK, drawn_variables(NETWORK))])
    for shape in ((1, 31, 47), (2, 16, 16)):
        probabilities, labels = segmenter(np.full(shape, -1000, np.int16))
        assert (probabilities.shape, labels.shape) == ((*shape, 4), shape)


def test_a_size_that_the_network_cannot_halve_is_refused():
    for size in (8, 4128, -32):
        with pytest.raises(
            InputError, match=f'invalid --network_size={size}: use a multiple of 32'
        ):
            UNetConfig(network_size=size)
    assert UNetConfig(network_size=256).size_divisor == 1
    assert from_json({'epochs': 3}).network.network_size == 0


def test_a_pixel_shuffle_needs_slices_that_are_divisible_once_more():
    assert UNetConfig(pixel_shuffle=2).size_divisor == 64
    assert UNetConfig(pixel_shuffle=2, network_size=512).size_divisor == 1
    for option, value in (('pixel_shuffle', 3), ('network_size', 96)):
        with pytest.raises(InputError, match=f'invalid --{option}={value}: use'):
            UNetConfig(**{'pixel_shuffle': 2, option: value})
