"""The only place that maps a config to a network, and slices on disk to inputs."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from bodycomp_jax.config import DENSENET_SIDE, DenseNetConfig, NetworkConfig, UNetConfig
from bodycomp_jax.models.densenet import DenseNet
from bodycomp_jax.models.unet import UNet


def build_network(
    config: NetworkConfig,
    *,
    dtype: DTypeLike = jnp.float32,
    axis_name: str | None = None,
    platform: str = 'cpu',
) -> nn.Module:
    """The network that a config describes.

    Args:
      config: a `UNetConfig` or `DenseNetConfig`.
      dtype: precision of the arithmetic; parameters and batch statistics are float32.
      axis_name: the mapped axis over which batch statistics are computed in training, if any.
      platform: of the devices, for whose speed it is written; parameters and results are the same.
    """
    shared = {
        'activation': getattr(jax.nn, config.activation),
        'dtype': dtype,
        'axis_name': axis_name,
        'platform': platform,
    }
    match config:
        case UNetConfig():
            return UNet(
                num_classes=config.num_classes,
                compression_channels=config.compression_channels,
                decompression_channels=config.decompression_channels,
                num_convs=config.num_convs,
                side=config.network_size,
                shuffle=config.pixel_shuffle,
                window=config.apply_window_function,
                **shared,
            )
        case DenseNetConfig():
            return DenseNet(
                num_levels=len(config.levels),
                layers=config.nb_layers_per_block,
                blocks=config.nb_blocks,
                initial_filters=config.nb_initial_filters,
                growth=config.growth_rate,
                compression=config.compression_rate,
                norm=not config.omit_norm,
                **shared,
            )


def variable_shapes(config: NetworkConfig) -> dict:
    """The variables of the network that a config describes, as `jax.ShapeDtypeStruct`s."""
    side = config.size_divisor if isinstance(config, UNetConfig) else DENSENET_SIDE
    images = jnp.zeros((1, side, side, 1), jnp.float32)
    shapes = jax.eval_shape(build_network(config).init, jax.random.key(0), images)
    return {'batch_stats': {}, **shapes}  # without batch norms there are none


def as_inputs(images: jax.Array) -> jax.Array:
    """`[B, H, W]` slices as they are on disk, as network inputs: `[B, H, W, 1]` float32."""
    return images.astype(jnp.float32)[..., None]
