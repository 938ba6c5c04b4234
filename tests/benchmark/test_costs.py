"""The described cost of each convolution, by hand and as the modules have it."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from helpers import SIDE, tiny_config

from bodycomp_jax.benchmark.costs import ConvolutionCost, densenet_costs, unet_costs
from bodycomp_jax.config import DenseNetConfig, UNetConfig
from bodycomp_jax.models.build import build_network

UNET = tiny_config().network
DENSENET = DenseNetConfig(
    nb_layers_per_block=2, nb_blocks=2, nb_initial_filters=4, growth_rate=3, levels=('L1', 'L3')
)


def test_a_small_unet_by_hand():
    pixels = SIDE**2
    assert unet_costs(UNET, SIDE) == [
        ConvolutionCost(pixels * 4, 9, 2),  # read by the pooling and the skip
        ConvolutionCost(pixels // 4 * 8, 9 * 4, 1),
        ConvolutionCost(pixels * 4, 4 * 8 + 9 * 4, 1),  # 2x2 of the upsampled channels
        ConvolutionCost(pixels * 4, 4, 1),
    ]
    resizing = dataclasses.replace(UNET, network_size=SIDE)
    assert unet_costs(resizing, 2 * SIDE) == unet_costs(UNET, SIDE)
    shuffled = unet_costs(dataclasses.replace(UNET, pixel_shuffle=2), 2 * SIDE)
    assert shuffled[0] == ConvolutionCost(pixels * 4, 9 * 4, 2)
    assert shuffled[1:3] == unet_costs(UNET, SIDE)[1:3]
    assert shuffled[3] == ConvolutionCost(pixels * 16, 4, 1)
    twice = unet_costs(dataclasses.replace(UNET, num_convs=2), SIDE)
    assert [cost.readers for cost in twice] == [1, 2, 1, 1, 1, 1, 1]
    assert [cost.macs_per_output for cost in twice] == [9, 36, 36, 72, 68, 36, 4]


def test_the_default_unet_has_the_macs_of_the_reference_except_for_the_upsampling():
    """10.62 GMAC in the reference, which multiplies nine copies of upsampled pixels, not four."""
    config = UNetConfig()
    macs = sum(cost.values * cost.macs_per_output for cost in unet_costs(config, 512))
    assert math.isclose(macs / 1e9, 7.2687, rel_tol=1e-4)
    channels = (512, *config.decompression_channels)
    saved = sum(
        5 * below * above * side**2
        for below, above, side in zip(channels, channels[1:], (32, 64, 128, 256, 512), strict=False)
    )
    assert math.isclose((macs + saved) / 1e9, 10.62, rel_tol=1e-3)


def test_a_small_densenet_by_hand():
    """Side 16 becomes 8 in the first convolution, 3 in its pooling and 1 in the transition."""
    layer = 9 * 3
    assert densenet_costs(DENSENET, 16) == [
        ConvolutionCost(64 * 4, 49, 1),
        ConvolutionCost(9 * 4, 0, 2),
        ConvolutionCost(9 * 12, 4, 1),
        ConvolutionCost(layer, 9 * 12, 2),
        ConvolutionCost(9 * 12, 7, 1),
        ConvolutionCost(layer, 9 * 12, 1),
        ConvolutionCost(5, 6, 2),  # half of 4 + 6 channels, from the 6 new ones
        ConvolutionCost(12, 5, 1),
        ConvolutionCost(3, 9 * 12, 2),
        ConvolutionCost(12, 8, 1),
        ConvolutionCost(3, 9 * 12, 1),
    ]


class Product(NamedTuple):
    """A convolution or matrix product that a module computes, as the shapes of its arrays."""

    x: tuple[int, ...]
    kernel: tuple[int, ...]  # [kh, kw, C, O] or [C, O]
    y: tuple[int, ...]


def products_of(network, side):
    """The `Product`s of one prediction of one slice, in order."""
    # On CPU some products of a DenseNet are with zeros.
    platform = 'gpu' if isinstance(network, DenseNetConfig) else 'cpu'
    model, images = build_network(network, platform=platform), jnp.zeros((1, side, side, 1))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    return [
        Product(*(variable.aval.shape for variable in (*equation.invars, *equation.outvars)))
        for equation in equations(jax.make_jaxpr(model.apply)(variables, images).jaxpr)
        if equation.primitive.name in ('conv_general_dilated', 'dot_general')
    ]


def equations(jaxpr):
    """Of a jaxpr and those within it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            inner = getattr(value, 'jaxpr', value)
            if hasattr(inner, 'eqns'):
                yield from equations(inner)


@pytest.mark.parametrize(
    'network',
    [UNetConfig(), UNetConfig(thoracic_model=True, num_convs=2), UNET],
    ids=['default', 'thoracic, two convolutions', 'tiny'],
)
def test_the_costs_of_a_unet_are_those_of_its_module(network):
    """A 2x2 convolution of four phases belongs to the 3x3 convolution of the skip after it."""
    expected, products = [], iter(products_of(network, 64))
    for x, (*taps, channels, _), y in products:
        macs = math.prod(taps) * channels
        if taps == [2, 2]:
            upsampled = (1, 2 * x[1], 2 * x[2], y[3] // 4)
            _, (*taps, channels, _), y = next(products)
            assert y == upsampled
            macs += math.prod(taps) * channels
        expected.append((math.prod(y), macs))
    costs = unet_costs(network, 64)
    assert [(cost.values, cost.macs_per_output) for cost in costs] == expected


@pytest.mark.parametrize(
    'network',
    [DenseNetConfig(nb_layers_per_block=4), dataclasses.replace(DENSENET, omit_norm=True)],
    ids=['four layers a block', 'tiny, without norms'],
)
def test_the_costs_of_a_densenet_are_those_of_its_module(network):
    *convolutions, _ = products_of(network, 256)  # the last product is the dense layer
    expected = [(math.prod(y), math.prod(kernel[:-1])) for _, kernel, y in convolutions]
    expected.insert(1, (math.prod(convolutions[1].x), 0))  # the pooled input of the first block
    costs = densenet_costs(network, 256)
    assert [(cost.values, cost.macs_per_output) for cost in costs] == expected
