import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bodycomp_jax.config import SegmentationConfig
from bodycomp_jax.models import unet
from bodycomp_jax.training.state import num_parameters


def shapes_of(config):
    network = unet.from_config(config)
    side = config.size_divisor
    return jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, side, side, 1)))


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        # The reference's 3,936,052 less 1,504 convolution biases and 3,008 moving statistics.
        ({}, 3_931_540),
        ({'thoracic_model': True}, 3_931_540 - 17),
        ({'compression_channels': (4, 8, 16), 'decompression_channels': (8, 4), 'num_convs': 2},
         36 + 144 + 288 + 576 + 1152 + 2304 + 1728 + 576 + 432 + 144  # 3x3 kernels
         + 2 * 2 * (4 + 8 + 16 + 8 + 4)  # scale and shift of the batch norms
         + 4 * 4 + 4),  # final 1x1 convolution
    ],
)  # fmt: skip
def test_number_of_parameters(changes, expected):
    assert num_parameters(shapes_of(SegmentationConfig(**changes))) == expected


def test_running_statistics_are_one_mean_and_variance_a_channel():
    statistics = shapes_of(SegmentationConfig())['batch_stats']
    assert sum(leaf.size for leaf in jax.tree.leaves(statistics)) == 3_008


def test_layers_are_named_as_in_the_reference():
    params = shapes_of(SegmentationConfig(num_convs=2))['params']
    assert set(params) == {
        *(f'compression_{i}' for i in range(5)),
        'compression_center',
        *(f'decompression_{i}' for i in range(5)),
        'final_conv',
    }
    assert set(params['decompression_0']) == {'conv_0', 'conv_1', 'norm_0', 'norm_1'}


def test_pooling_and_upsampling_are_those_of_the_library():
    x = jax.random.normal(jax.random.key(0), (2, 6, 8, 3))
    np.testing.assert_array_equal(unet.max_pool(x), nn.max_pool(x, (2, 2), (2, 2)))
    np.testing.assert_array_equal(
        unet.upsample(x), jax.image.resize(x, (2, 12, 16, 3), jax.image.ResizeMethod.NEAREST)
    )


def test_logits_are_float32_and_one_per_class_in_bfloat16_too():
    network = unet.UNet(
        compression_channels=(2, 4), decompression_channels=(2,), dtype=jnp.bfloat16
    )
    variables = network.init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    logits = network.apply(variables, jnp.ones((3, 8, 12, 1)))
    assert (logits.shape, logits.dtype) == ((3, 8, 12, 4), jnp.float32)


def test_inputs_are_windowed_unless_told_not_to():
    images = jnp.array([[[-1000, 40]]], jnp.int16)
    np.testing.assert_array_equal(unet.inputs(images, apply_window=True), [[[[0.0], [128.0]]]])
    np.testing.assert_array_equal(unet.inputs(images, apply_window=False), [[[[-1000.0], [40.0]]]])
