import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax.config import DenseNetConfig, UNetConfig
from bodycomp_jax.models.build import build_network, preprocess, variable_shapes


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


@pytest.mark.parametrize(
    ('config', 'grey'),
    [
        (UNetConfig(), [0.0, 128.0]),
        (UNetConfig(apply_window_function=False), [-1000.0, 40.0]),
    ],
)
def test_unet_inputs_are_windowed_unless_the_window_is_off(config, grey):
    inputs = preprocess(config, jnp.array([[[-1000, 40]]], jnp.int16))
    assert inputs.dtype == jnp.float32
    np.testing.assert_array_equal(inputs, np.reshape(grey, (1, 1, 2, 1)))


def test_densenet_inputs_are_the_grey_values_on_disk():
    inputs = preprocess(DenseNetConfig(), jnp.array([[[0, 40, 255]]], jnp.uint8))
    assert inputs.dtype == jnp.float32
    np.testing.assert_array_equal(inputs, np.reshape([0.0, 40.0, 255.0], (1, 1, 3, 1)))
