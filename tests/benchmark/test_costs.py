"""The described cost of each convolution, by hand and as the modules have it."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from helpers import SIDE, tiny_config

from bodycomp_jax.benchmark.costs import ConvolutionCost, densenet_costs, unet_costs
from bodycomp_jax.config import DenseNetConfig, UNetConfig
from bodycomp_jax.models import unet
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
        ConvolutionCost(9 * 5, 6, 1),  # half of 4 + 6 channels, from the 6 new ones
        ConvolutionCost(5, 0, 2),
        ConvolutionCost(12, 5, 1),
        ConvolutionCost(3, 9 * 12, 2),
        ConvolutionCost(12, 8, 1),
        ConvolutionCost(3, 9 * 12, 1),
    ]


def convolutions_of(network, side):
    """(x, skip or None, kernel, output) of each convolution of a module, in order, as shapes."""
    found = []

    def record(call, args, kwargs, context):
        output = call(*args, **kwargs)
        if isinstance(context.module, unet.Conv | nn.Conv):
            x, skip = (*args, None)[:2]
            kernel = context.module.get_variable('params', 'kernel')
            found.append((x.shape, skip if skip is None else skip.shape, kernel.shape, output.size))
        return output

    def init():
        with nn.intercept_methods(record):
            return build_network(network).init(jax.random.key(0), jnp.zeros((1, side, side, 1)))

    jax.eval_shape(init)
    return found


@pytest.mark.parametrize(
    'network',
    [UNetConfig(), UNetConfig(thoracic_model=True, num_convs=2), UNET],
    ids=['default', 'thoracic, two convolutions', 'tiny'],
)
def test_the_costs_of_a_unet_are_those_of_its_module(network):
    """Channels from below cost 4/9 of a kernel's products."""
    expected = []
    for x, skip, (height, width, channels, _), values in convolutions_of(network, 64):
        upsampled = 0 if skip is None else x[-1]
        macs = height * width * channels - (9 - 4) * upsampled
        expected.append((values, macs))
        if skip is not None:
            assert skip[1:3] == (2 * x[1], 2 * x[2])
    costs = unet_costs(network, 64)
    assert [(cost.values, cost.macs_per_output) for cost in costs] == expected


@pytest.mark.parametrize(
    'network',
    [DenseNetConfig(), dataclasses.replace(DENSENET, omit_norm=True)],
    ids=['default', 'tiny, without norms'],
)
def test_the_costs_of_a_densenet_are_those_of_its_module(network):
    convolutions = convolutions_of(network, 256)
    expected = [(values, math.prod(kernel[:3])) for _, _, kernel, values in convolutions]
    in_block = 2 * network.nb_layers_per_block
    for i in reversed(range(network.nb_blocks)):  # before each block, its pooled input
        first = 1 + i * (in_block + 1)
        expected.insert(first, (math.prod(convolutions[first][0]), 0))
    costs = densenet_costs(network, 256)
    assert [(cost.values, cost.macs_per_output) for cost in costs] == expected
