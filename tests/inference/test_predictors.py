import numpy as np
import pytest

from bodycomp_jax import load_model
from bodycomp_jax.errors import InputError
from bodycomp_jax.inference import predictors


@pytest.fixture(scope='module')
def model(finished_run):
    return load_model(finished_run.run_dir)


@pytest.fixture(scope='module')
def images(data_dir):
    return np.load(data_dir / 'train_images.npy')[..., 0]


def test_probabilities_and_labels_of_any_number_of_slices(model, images):
    probabilities, labels = model(images)
    assert len(images) > predictors.MAX_BATCH
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
    for shape in ((2, 16, 23), (16, 16), (2, 16, 16, 1)):
        with pytest.raises(InputError, match='height and width multiples of 2'):
            model(np.zeros(shape, np.int16))


def test_slices_that_come_last_are_warned_of(model):
    with pytest.warns(UserWarning, match=r'16 slices of 16 x 6; .*moveaxis\(slices, 2, 0\)'):
        model(np.zeros((16, 16, 6), np.int16))


def test_slices_of_different_sizes_are_refused(model, images):
    with pytest.raises(InputError, match='the slices of each size by a call of its own'):
        model([images[0], images[0, :16, :16]])
