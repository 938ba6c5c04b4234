import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from helpers import drawn_variables, smooth_images

from bodycomp_jax.config import UNetConfig
from bodycomp_jax.models.build import build_network, variable_shapes
from bodycomp_jax.models.layers.cells import Cell, cells_of_levels, fold
from bodycomp_jax.models.layers.norm import EPSILON
from bodycomp_jax.training.tasks.losses import dice_ce_loss, segmentation_sums


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


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
    assert count(variable_shapes(UNetConfig(**changes))['params']) == expected


def test_running_statistics_are_a_mean_and_a_variance_per_channel():
    assert count(variable_shapes(UNetConfig())['batch_stats']) == 3_008


def test_layers_are_named_as_in_the_reference():
    params = variable_shapes(UNetConfig(num_convs=2))['params']
    assert set(params) == {
        *(f'compression_{i}' for i in range(5)),
        'compression_center',
        *(f'decompression_{i}' for i in range(5)),
        'final_conv',
    }
    assert set(params['decompression_0']) == {'conv_0', 'conv_1', 'norm_0', 'norm_1'}


def plain_unet(params, x, config):
    """The logits of a training batch by the textbook: upsample, then concatenate."""

    def block(x, name):
        for i in range(config.num_convs):
            layer, norm = params[name][f'conv_{i}'], params[name][f'norm_{i}']
            x = jax.lax.conv_general_dilated(
                x, layer['kernel'], (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
            )
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            x = (x - mean) / jnp.sqrt(variance + EPSILON)
            x = jax.nn.relu(x * norm['scale'] + norm['bias'])
        return x

    skips = []
    for i in range(len(config.decompression_channels)):
        x = block(x, f'compression_{i}')
        skips.append(x)
        x = nn.max_pool(x, (2, 2), (2, 2))
    x = block(x, 'compression_center')
    for i in range(len(config.decompression_channels)):
        x = x.repeat(2, axis=1).repeat(2, axis=2)
        x = block(jnp.concatenate([x, skips.pop()], -1), f'decompression_{i}')
    last = params['final_conv']
    return jnp.einsum('bhwc,co->bhwo', x, last['kernel'][0, 0]) + last['bias']


def shuffled(images):
    """2 x 2 pixels as channels, row by row."""
    B, H, W, _ = images.shape
    return images.reshape(B, H // 2, 2, W // 2, 2).swapaxes(2, 3).reshape(B, H // 2, W // 2, 4)


def shuffled_back(values):
    """The way back for each of several channels, which are the last of each pixel."""
    B, H, W, channels = values.shape
    return values.reshape(B, H, W, 2, 2, channels // 4).swapaxes(2, 3).reshape(B, 2 * H, 2 * W, -1)


def in_cells(values, config, platform):
    """`[B, H, W, C]` of pixels in the order of the logits of training."""
    cells = cells_of_levels(config.compression_channels, config.decompression_channels, platform)
    shuffle = Cell(config.pixel_shuffle, config.pixel_shuffle)
    folded = fold(fold(values, shuffle), cells.up[-1])
    B, H, W, _ = folded.shape
    C = values.shape[-1]
    if platform == 'tpu':
        return folded.reshape(B, H, W, -1, C).transpose(3, 1, 2, 0, 4).reshape(1, -1, H, W * B, C)
    return folded.reshape(B, H, W, -1, C)


@pytest.mark.parametrize(
    ('platform', 'pixel_shuffle'), [('cpu', 1), ('gpu', 1), ('tpu', 1), ('gpu', 2), ('tpu', 2)]
)
def test_logits_and_gradients_are_those_of_the_textbook_network(platform, pixel_shuffle):
    config = UNetConfig(
        compression_channels=(4, 32, 24),
        decompression_channels=(32, 6),
        num_convs=2,
        pixel_shuffle=pixel_shuffle,
        apply_window_function=False,
    )
    network, variables = build_network(config, platform=platform), drawn_variables(config)
    random = np.random.default_rng(0)
    x = random.uniform(0, 255, (2, 8 * pixel_shuffle, 12 * pixel_shuffle, 1)).astype('f4')
    target = random.normal(size=(*x.shape[:3], 4)).astype('f4')
    target = in_cells(target, config, platform)

    def fast(params):
        state = {**variables, 'params': params}
        logits, _ = network.apply(state, x, train=True, mutable=['batch_stats'])
        return ((logits - target) ** 2).mean(), logits

    def plain(params):
        if pixel_shuffle == 1:
            logits = plain_unet(params, x, config)
        else:
            logits = shuffled_back(plain_unet(params, shuffled(x), config))
        logits = in_cells(logits, config, platform)
        return ((logits - target) ** 2).mean(), logits

    with jax.numpy_rank_promotion('allow'):
        results = [
            jax.jit(jax.value_and_grad(function, has_aux=True))(variables['params'])
            for function in (fast, plain)
        ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *results)


@pytest.mark.parametrize('dtype', ['u1', 'i4'])
@pytest.mark.parametrize('pixel_shuffle', [1, 2])
@pytest.mark.parametrize('platform', ['cpu', 'gpu', 'tpu'])
def test_labels_are_in_the_order_of_the_logits(platform, pixel_shuffle, dtype):
    config = UNetConfig(
        compression_channels=(16, 32, 64),
        decompression_channels=(32, 16),
        pixel_shuffle=pixel_shuffle,
    )
    network = build_network(config, platform=platform)
    masks = np.random.default_rng(0).integers(0, 256, (2, 16, 24)).astype(dtype)
    logits = in_cells(np.repeat(masks[..., None], 4, axis=-1), config, platform)
    labels = network.labels_of(logits, masks)
    np.testing.assert_array_equal(labels, logits[..., 0])
    assert labels.dtype == masks.dtype
    images = jnp.zeros((*masks.shape, 4))
    assert network.labels_of(images, masks) is masks


@pytest.mark.parametrize(
    'changes',
    [
        # Cells of 1 x 2 pixels: of two slices the lanes have the shape of an image.
        {'compression_channels': (64, 128), 'decompression_channels': (64,)},
        {'compression_channels': (8,), 'decompression_channels': ()},
        {'compression_channels': (4, 8), 'decompression_channels': (4,), 'pixel_shuffle': 2,
         'network_size': 24},
    ],
    ids=['wide', 'one level', 'resized and shuffled'],
)  # fmt: skip
def test_losses_and_gradients_are_the_same_on_every_platform(changes):
    config = UNetConfig(apply_window_function=False, **changes)
    variables, random = drawn_variables(config), np.random.default_rng(0)
    images = random.uniform(0, 255, (2, 16, 16, 1)).astype('f4')
    masks = random.integers(0, 4, (2, 16, 16)).astype('u1')

    def loss_and_gradient(platform):
        network = build_network(config, platform=platform)

        def loss(params):
            state = {**variables, 'params': params}
            logits, _ = network.apply(state, images, train=True, mutable=['batch_stats'])
            return dice_ce_loss(segmentation_sums(logits, network.labels_of(logits, masks)))

        return jax.jit(jax.value_and_grad(loss))(variables['params'])

    on_cpu, *others = map(loss_and_gradient, ('cpu', 'gpu', 'tpu'))
    for found in others:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), found, on_cpu
        )


def test_predictions_are_the_same_on_every_platform():
    config = UNetConfig(
        compression_channels=(4, 8, 16),
        decompression_channels=(8, 4),
        apply_window_function=False,
    )
    images, variables = smooth_images(16), drawn_variables(config)
    on_cpu, *others = (
        build_network(config, platform=platform).apply(variables, images)
        for platform in ('cpu', 'gpu', 'tpu')
    )
    for logits in others:
        np.testing.assert_allclose(logits, on_cpu, rtol=1e-4, atol=1e-4)


def test_bfloat16_network_has_float32_variables_and_logits():
    config = UNetConfig(compression_channels=(2, 4), decompression_channels=(2,))
    network = build_network(config, dtype=jnp.bfloat16)
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    logits = jax.eval_shape(network.apply, variables, jnp.ones((3, 8, 12, 1)))
    assert (logits.shape, logits.dtype) == ((3, 8, 12, 4), jnp.float32)


def test_bfloat16_predictions_and_gradients_are_close_to_float32():
    config = UNetConfig(
        compression_channels=(4, 8),
        decompression_channels=(4,),
        activation='leaky_relu',
        apply_window_function=False,
    )
    images, variables = smooth_images(32), drawn_variables(config)
    labels = np.random.default_rng(0).integers(0, 4, (4, 32, 32, 1, 1))

    def gradients_and_logits(dtype):
        def loss(params):
            state = {**variables, 'params': params}
            network = build_network(config, dtype=dtype)
            logits, _ = network.apply(state, images, train=True, mutable=['batch_stats'])
            log_probabilities = jnp.take_along_axis(jax.nn.log_softmax(logits), labels, -1)
            return -log_probabilities.mean(), logits

        gradients, logits = jax.jit(jax.grad(loss, has_aux=True))(variables['params'])
        return jax.flatten_util.ravel_pytree(gradients)[0], logits

    (exact_gradients, exact), (gradients, logits) = map(
        gradients_and_logits, (jnp.float32, jnp.bfloat16)
    )
    largest, second = jnp.moveaxis(jnp.sort(logits, -1), -1, 0)[:1:-1]
    assert (largest > second).all()  # with bfloat16 logits 0.1 % of these pixels tie
    assert (logits.argmax(-1) == exact.argmax(-1)).mean() > 0.98
    np.testing.assert_allclose(jax.nn.softmax(logits), jax.nn.softmax(exact), atol=0.03)
    error = jnp.linalg.norm(gradients - exact_gradients) / jnp.linalg.norm(exact_gradients)
    assert 0 < error < 0.06  # with bfloat16 logits 0.22
