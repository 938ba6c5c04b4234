import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from bodycomp_jax.data import phantom
from bodycomp_jax.training.tasks import augment


@pytest.fixture(scope='module')
def example():
    image, mask = phantom.draw_slice(0, 64)
    return {'image': jnp.asarray(image), 'mask': jnp.asarray(mask)}


@pytest.fixture(scope='module')
def augmented(example):
    keys = jax.random.split(jax.random.key(0), 32)
    return jax.jit(jax.vmap(lambda key: augment.rotate_and_shift(key, example)))(keys)


def test_pixels_are_those_of_scipy(example):
    key = jax.random.key(7)
    y, x = augment._source(key, 64, 64)
    moved = augment.rotate_and_shift(key, example)
    options = {'mode': 'nearest', 'prefilter': False}
    image = scipy.ndimage.map_coordinates(
        np.asarray(example['image'], float), [y, x], order=1, **options
    )
    mask = scipy.ndimage.map_coordinates(np.asarray(example['mask']), [y, x], order=0, **options)
    np.testing.assert_allclose(moved['image'], image, atol=0.1)
    assert (moved['mask'] != mask).mean() < 1e-3  # rounding at exactly one half


def test_no_label_appears_that_was_not_there(example, augmented):
    assert augmented['mask'].dtype == np.uint8
    only_two = {**example, 'mask': jnp.where(example['mask'] == 3, 3, 0).astype(jnp.uint8)}
    for i in range(8):
        moved = augment.rotate_and_shift(jax.random.key(i), only_two)
        assert set(np.unique(moved['mask'])) <= {0, 3}


def test_areas_keep_their_size(example, augmented):
    for label in (1, 2, 3):
        areas = (np.asarray(augmented['mask']) == label).sum((1, 2))
        assert areas.mean() == pytest.approx(int((example['mask'] == label).sum()), rel=0.02)


def test_hu_stay_in_their_range_and_are_not_cut_to_bytes(example, augmented):
    image = np.asarray(augmented['image'])
    assert image.dtype == np.float32
    assert example['image'].min() <= image.min() < -900
    assert 255 < image.max() <= example['image'].max()


def test_slice_and_labels_move_together(example):
    labels_as_image = {**example, 'image': 1000 * example['mask'].astype(jnp.int16)}
    moved = augment.rotate_and_shift(jax.random.key(3), labels_as_image)
    on_plateau = np.isin(moved['image'], (0, 1000, 2000, 3000))
    assert on_plateau.mean() > 0.7
    np.testing.assert_array_equal(moved['image'][on_plateau], 1000.0 * moved['mask'][on_plateau])


def test_rotations_and_shifts_fill_their_ranges():
    H = 101
    keys = jax.random.split(jax.random.key(0), 500)
    y, x = jax.jit(jax.vmap(lambda key: augment._source(key, H, H)))(keys)
    middle = (H - 1) // 2
    shift_y, shift_x = y[:, middle, middle] - middle, x[:, middle, middle] - middle
    angle = jnp.rad2deg(
        jnp.arctan2(
            x[:, middle + 9, middle] - x[:, middle, middle],
            y[:, middle + 9, middle] - y[:, middle, middle],
        )
    )
    for values, bound in ((shift_y, 0.05 * H), (shift_x, 0.05 * H), (angle, 5.0)):
        assert np.abs(values).max() <= bound * (1 + 1e-3)
        assert values.min() < -0.95 * bound
        assert values.max() > 0.95 * bound
        assert np.asarray(values).std() == pytest.approx(bound / np.sqrt(3), rel=0.1)


def test_outside_the_edge_repeats():
    example = {'image': jnp.full((32, 32), -1000, jnp.int16), 'mask': jnp.full((32, 32), 2)}
    for i in range(8):
        moved = augment.rotate_and_shift(jax.random.key(i), example)
        np.testing.assert_allclose(moved['image'], -1000, rtol=1e-6)
        np.testing.assert_array_equal(moved['mask'], 2)
