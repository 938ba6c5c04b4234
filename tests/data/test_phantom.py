import numpy as np
import pytest

from bodycomp_jax.data.phantom import slices


@pytest.fixture(scope='module')
def bodies():
    return [slices.draw(seed, 128) for seed in range(12)]


def test_a_seed_draws_one_body():
    for one, same, other in zip(
        slices.draw(3, 64), slices.draw(3, 64), slices.draw(4, 64), strict=True
    ):
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()


def test_types_and_shapes_are_those_of_a_training_set(bodies):
    for image, mask in bodies:
        assert (image.shape, image.dtype) == ((128, 128), np.int16)
        assert (mask.shape, mask.dtype) == ((128, 128), np.uint8)
        assert set(np.unique(mask)) == {0, 1, 2, 3}


def test_tissues_have_the_hu_of_real_ones(bodies):
    for image, mask in bodies:
        assert 40 < np.median(image[mask == slices.MUSCLE]) < 70
        assert -115 < np.median(image[mask == slices.SUBCUTANEOUS]) < -90
        assert -115 < np.median(image[mask == slices.VISCERAL]) < -90
        assert image.min() < -950
        assert image.max() > 200


def test_every_tissue_has_a_plausible_share_of_the_body(bodies):
    for image, mask in bodies:
        body = (image > -300).sum()
        for label, least, most in ((1, 0.1, 0.45), (2, 0.1, 0.6), (3, 0.01, 0.5)):
            assert least < (mask == label).sum() / body < most


def test_subcutaneous_fat_surrounds_the_other_tissues(bodies):
    for _, mask in bodies:
        ring = np.argwhere(mask == slices.SUBCUTANEOUS)
        inside = np.argwhere((mask == slices.MUSCLE) | (mask == slices.VISCERAL))
        assert (ring.min(0) < inside.min(0)).all()
        assert (ring.max(0) > inside.max(0)).all()


def test_bodies_differ_in_size(bodies):
    areas = [(mask > 0).sum() for _, mask in bodies]
    assert max(areas) > 1.5 * min(areas)


def test_no_body_is_in_both_splits(tmp_path):
    slices.write_dataset(tmp_path, train=2, val=1, side=32, seed=5)
    train, val = (np.load(tmp_path / f'{split}_images.npy') for split in ('train', 'val'))
    assert train.shape == (2, 32, 32, 1)
    np.testing.assert_array_equal(val[0, ..., 0], slices.draw(7, 32)[0])
