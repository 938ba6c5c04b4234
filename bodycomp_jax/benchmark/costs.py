"""The least cost of each convolution of a network, for the roofline."""

from typing import NamedTuple

from bodycomp_jax.config import DenseNetConfig, UNetConfig
from bodycomp_jax.models.densenet import BOTTLENECK


class ConvolutionCost(NamedTuple):
    """The cost of one convolution of one slice."""

    values: int  # of the output
    macs_per_output: int  # multiply-accumulate operations per value
    readers: int  # later operations that read the output


def unet_costs(config: UNetConfig, side: int) -> list[ConvolutionCost]:
    """The convolutions in order, for slices of side x side pixels.

    A 3x3 convolution of an upsampled image needs only 2x2 multiply-accumulates per channel.
    """
    per_pixel = config.pixel_shuffle**2  # pixels of the slice
    costs, C, pixels = [], per_pixel, (config.network_size or side) ** 2 // per_pixel

    def block(below, skip, channels, readers):
        macs = 9 * skip + (4 if skip else 9) * below
        for i in range(config.num_convs):
            last = i == config.num_convs - 1
            costs.append(
                ConvolutionCost(
                    values=pixels * channels,
                    macs_per_output=macs if i == 0 else 9 * channels,
                    readers=readers if last else 1,
                )
            )

    *upper, center = config.compression_channels
    for channels in upper:
        block(C, 0, channels, 2)  # the skip connection and the pooling
        C, pixels = channels, pixels // 4
    block(C, 0, center, 1)
    C = center
    for channels, skip in zip(config.decompression_channels, reversed(upper), strict=True):
        pixels *= 4
        block(C, skip, channels, 1)
        C = channels
    return [*costs, ConvolutionCost(pixels * per_pixel * config.num_classes, C, 1)]


def densenet_costs(config: DenseNetConfig, side: int) -> list[ConvolutionCost]:
    """The convolutions in order, for slices of side x side pixels.

    The pooled input of the first block counts too, as a convolution without operations.
    """
    layers, growth = config.nb_layers_per_block, config.growth_rate
    C, side = config.nb_initial_filters, -(-side // 2)
    costs = [ConvolutionCost(side**2 * C, 49, 1)]
    side = (side - 3) // 2 + 1
    costs.append(ConvolutionCost(side**2 * C, 0, layers))
    for i in range(config.nb_blocks):
        pixels = side**2
        for j in range(layers):
            seen = C + j * growth
            costs.append(ConvolutionCost(pixels * BOTTLENECK * growth, seen, 1))
            readers = layers - j  # the later layers and the operation after the block
            costs.append(ConvolutionCost(pixels * growth, 9 * BOTTLENECK * growth, readers))
        if i < config.nb_blocks - 1:
            added = layers * growth
            C = int((C + added) * config.compression_rate)
            side //= 2
            costs.append(ConvolutionCost(side**2 * C, added, layers))
    return costs
