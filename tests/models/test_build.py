import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import drawn_variables, smooth_images

from bodycomp_jax import ct
from bodycomp_jax.config import DenseNetConfig, UNetConfig
from bodycomp_jax.models.build import as_inputs, build_network, variable_shapes


@pytest.mark.parametrize(
    ('config', 'outputs'),
    [
        (UNetConfig(thoracic_model=True), (1, 256, 256, 3)),
        (DenseNetConfig(levels=('L1', 'L3')), (1, 2)),
        (DenseNetConfig(omit_norm=True), (1, 1)),
    ],
)
def test_network_takes_variables_of_these_shapes(config, outputs):
    images = jax.ShapeDtypeStruct((1, 256, 256, 1), jnp.float32)
    logits = jax.eval_shape(build_network(config).apply, variable_shapes(config), images)
    assert (logits.shape, logits.dtype) == (outputs, jnp.float32)


@pytest.mark.parametrize('config', [UNetConfig(), DenseNetConfig(nb_layers_per_block=2)])
def test_variables_are_float32_whatever_jax_would_choose(config):
    with jax.enable_x64(True):
        shapes = variable_shapes(config)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype('float32')}


def test_network_has_the_activation_precision_and_axis_asked_for():
    for config in (UNetConfig(activation='gelu'), DenseNetConfig(activation='gelu')):
        network = build_network(config, dtype=jnp.bfloat16, axis_name='data')
        assert network.activation is jax.nn.gelu
        assert (network.dtype, network.axis_name) == (jnp.bfloat16, 'data')


@pytest.mark.parametrize('dtype', [jnp.int16, jnp.uint8])
def test_inputs_are_the_values_on_disk(dtype):
    inputs = as_inputs(jnp.array([[[0, 40, 255]]], dtype))
    assert inputs.dtype == jnp.float32
    np.testing.assert_array_equal(inputs, np.reshape([0.0, 40.0, 255.0], (1, 1, 3, 1)))


def test_a_unet_windows_hu_unless_the_window_is_off():
    config = UNetConfig(compression_channels=(2, 4), decompression_channels=(2,))
    hu, variables = 2 * smooth_images(8) - 300, drawn_variables(config)
    windowed = build_network(config).apply(variables, hu)
    of_grey = build_network(dataclasses.replace(config, apply_window_function=False))
    np.testing.assert_array_equal(windowed, of_grey.apply(variables, ct.window(hu)))
    assert (windowed != of_grey.apply(variables, hu)).any()
