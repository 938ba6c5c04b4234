import dataclasses
import pickle

import jax
import numpy as np
import pytest
from helpers import drawn_variables

from bodycomp_jax import ct, load_model
from bodycomp_jax.config import DenseNetConfig
from bodycomp_jax.data import phantom
from bodycomp_jax.errors import InputError
from bodycomp_jax.inference import predictors
from bodycomp_jax.inference.batches import MAX_BATCH


@pytest.fixture(scope='module')
def model(finished_run):
    return load_model(finished_run.run_dir)


@pytest.fixture(scope='module')
def images(data_dir):
    return np.load(data_dir / 'train_images.npy')[..., 0]


def test_probabilities_and_labels_of_any_number_of_slices(model, images):
    probabilities, labels = model(images)
    assert len(images) > MAX_BATCH
    assert (probabilities.shape, probabilities.dtype) == ((*images.shape, 4), np.float32)
    assert (labels.shape, labels.dtype) == (images.shape, np.uint8)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(labels, probabilities.argmax(-1))


@pytest.mark.parametrize('n', [0, 1, 3])
def test_a_slice_alone_is_the_slice_in_a_batch(model, images, n):
    alone, _ = model(images[:n])
    np.testing.assert_allclose(alone, model(images)[0][:n], atol=1e-5)


def test_other_sizes_work_if_the_network_can_halve_them(model):
    assert model(np.zeros((2, 16, 24), np.int16))[1].shape == (2, 16, 24)
    for shape in ((2, 16, 23), (16, 16), (2, 16, 16, 1), (2, 0, 16)):
        with pytest.raises(InputError, match='height and width multiples of 2'):
            model(np.zeros(shape, np.int16))


def test_slices_that_come_last_are_warned_of(model):
    with pytest.warns(UserWarning, match=r'16 slices of 16 x 6; .*moveaxis\(slices, 2, 0\)'):
        model(np.zeros((16, 16, 6), np.int16))


def test_slices_of_different_sizes_are_refused(model, images):
    with pytest.raises(InputError, match='the slices of each size by a call of its own'):
        model([images[0], images[0, :16, :16]])


@pytest.fixture(scope='module')
def selector():
    """A small network with random weights."""
    config = DenseNetConfig(
        nb_layers_per_block=1, nb_blocks=2, nb_initial_filters=2, growth_rate=2, omit_norm=True
    )
    return predictors.SliceSelector([(config, drawn_variables(config))])


def grey(hu):
    return ct.window(hu.astype(np.float32))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda x: grey(x).astype(np.uint8), 'slices of type uint8 cannot hold Hounsfield units'),
        (lambda x: (x + 1024).astype(np.uint16), 'slices of type uint16 cannot hold Hounsfield'),
        (lambda x: x.astype(np.int8), 'slices of type int8 cannot hold Hounsfield units'),
        (lambda x: x > 0, 'slices of type bool: expected numbers'),
        (lambda x: x.astype(complex), 'slices of type complex128: expected numbers'),
        (lambda x: np.where(x == x.max(), np.nan, x), 'pixels are not finite; replace them'),
        (grey, 'slice 0: values from 0 to 255 are not HU, of which air and fat are below 0'),
        (lambda x: x + 1024, 'slice 0: values from 0 to .* are not HU'),
        (lambda x: x + 1000, r'slice 0: values from -24 to .* look like HU \+ 1024'),
        (lambda x: x - 1024, r'slice 0: values from -2048 to .* look like HU - 1024'),
        (lambda x: np.where(x == x.max(), 1e300, x), 'pixels are not finite; replace them'),
        (lambda x: x / 1000, 'slice 0: values from -1.024 to .* are scaled, not HU'),
        (lambda x: (x - x.mean()) / x.std(), 'are scaled, not HU'),
        (lambda x: np.stack([x[0], x[0] + 1024]), 'slice 1: .* are not HU'),
    ],
)
def test_both_networks_refuse_what_cannot_be_hu(model, selector, images, change, message):
    slices = images[:2].copy()
    slices[:, 0, 0] = -1024  # padding
    slices = change(slices)
    for predict in (model, selector):
        with pytest.raises(InputError, match=message):
            predict(slices)


def test_what_looks_impossible_can_be_predicted_all_the_same(model, selector, images):
    shifted = images[:1] + 1000
    assert model(shifted, check_values=False)[1].shape == shifted.shape
    assert selector(shifted, check_values=False).shape == (1, 1)
    assert set(selector.find(shifted, [0.0], check_values=False)) == {'L3'}


@pytest.mark.parametrize(
    'change',
    [
        lambda x: x * 0,
        lambda x: np.full_like(x, -1000),
        lambda x: x % 50 - 1025,  # air, and its noise
        lambda x: x.clip(-160, 240),
        lambda x: np.where(x < -900, -3024, x),
        lambda x: x.astype('>i4'),
        lambda x: x.astype(np.float16),
        lambda x: x[:0],
    ],
)
def test_sound_slices_are_predicted(model, selector, images, change):
    slices = change(images[:1])
    assert len(model(slices)[1]) == len(selector(slices)) == len(slices)


def test_levels_are_told_in_squares(selector):
    """What is not square has a margin of air."""
    hu = phantom.draw(3, 64, 100.0).hu[:2]
    square = hu.copy()
    square[:, :9], square[:, -9:] = ct.AIR, ct.AIR
    np.testing.assert_array_equal(selector(square), selector(hu[:, 9:-9]))


def test_every_slice_of_a_trunk_can_be_hu(selector):
    trunk = phantom.draw(0, 64, 40.0)
    assert len(selector(trunk.hu)) == len(trunk.z)


def test_without_the_window_grey_values_are_wanted(model, images):
    config = dataclasses.replace(model.config, apply_window_function=False)
    segment = predictors.Segmenter([(config, *model.variables)])
    as_bytes = grey(images[:1]).astype(np.uint8)
    np.testing.assert_array_equal(segment(as_bytes)[1], segment(as_bytes.astype(np.int16))[1])
    for slices in (images[:1], as_bytes / 255):
        with pytest.raises(InputError, match=r'are not grey values in 0\.\.255'):
            segment(slices)


def test_strict_modes_of_jax_do_not_apply(finished_run, model, images):
    _, expected = model(images[:1])
    with jax.numpy_dtype_promotion('strict'), jax.transfer_guard('disallow_explicit'):
        _, labels = load_model(finished_run.run_dir)(images[:1])
    np.testing.assert_array_equal(labels, expected)


def test_pickled_networks_predict_alike(model, selector, images):
    for predict in (model, selector):
        copy = pickle.loads(pickle.dumps(predict))
        jax.tree.map(np.testing.assert_array_equal, predict(images[:2]), copy(images[:2]))


def test_positions_that_are_not_in_mm_are_warned_of(selector, images):
    for z, span in (([0.0, 0.003, 0.006], '0.006'), ([-1.0] * 3, '0')):
        with pytest.warns(UserWarning, match=f'3 slices within {span} mm: z must be the position'):
            selector.find(images[:3], z)
    selector.find(images[:3], [0.0, 0.0, 3.0])


@pytest.mark.parametrize('z', [['a', 'b'], [0.0], [[0.0, 5.0]], [0.0, np.nan], [[0.0], 5.0], None])
def test_positions_that_are_no_numbers_of_mm_are_refused(selector, images, z):
    with pytest.raises(InputError, match='expected a finite position in mm for each of the 2'):
        selector.find(images[:2], z)


def test_positions_that_rise_towards_the_feet_are_warned_of(selector, monkeypatch):
    z = 5.0 * np.arange(12)
    offsets = (z - 30)[:, None].astype(np.float32)
    monkeypatch.setattr(predictors.SliceSelector, '__call__', lambda self, slices, **_: offsets)
    assert abs(selector.find(None, z)['L3'].z - 30) < 1
    with pytest.warns(UserWarning, match=r'fall where z rises: .* \(else pass -z\)'):
        assert selector.find(None, -z)['L3'].outside
