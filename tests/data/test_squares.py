"""Slices and masks on squares."""

import numpy as np
import pytest

from bodycomp_jax import ct
from bodycomp_jax.config import DENSENET_SIDE
from bodycomp_jax.data.squares import (
    at_selection_size,
    from_square,
    square_image,
    square_mask,
    square_spacing,
)

RNG = np.random.default_rng(0)
HU = RNG.integers(-1000, 1500, (48, 48)).astype(np.int16)


def test_a_slice_of_the_size_stays_as_it_is():
    np.testing.assert_array_equal(square_image(HU, 48), HU)
    np.testing.assert_array_equal(square_mask(HU, 48), HU)


@pytest.mark.parametrize('shape', [(20, 31), (31, 20)])
def test_the_rest_of_a_square_is_air_and_background(shape):
    hu, labels = np.full(shape, 50, np.int16), np.ones(shape, np.uint8)
    image, mask = square_image(hu, 31), square_mask(labels, 31)
    rows, columns = np.nonzero(mask)
    for where, length in ((rows, shape[0]), (columns, shape[1])):
        assert (where.min(), where.max()) == ((31 - length) // 2, (31 - length) // 2 + length - 1)
    np.testing.assert_array_equal(image, np.where(mask, 50, ct.AIR))


def test_larger_pixels_are_means_so_that_nothing_aliases():
    stripes = np.tile(np.int16([-1000, 1000]), (64, 32))
    assert np.abs(square_image(stripes, 16)[:, 2:-2]).max() < 20
    assert np.abs(stripes[:, ::4]).min() == 1000


def test_a_slope_stays_a_slope_and_does_not_shift():
    slope = np.tile(np.arange(0, 960, 10, dtype=np.int16), (96, 1))
    for side in (32, 64, 192):
        middles = (np.arange(side) + 0.5) * 96 / side - 0.5  # of the new pixels, in old ones
        inner = slice(side // 16, -side // 16)
        difference = square_image(slope, side)[:, inner] - 10 * middles[inner]
        assert np.abs(difference).max() <= 1


def test_masks_are_where_images_are():
    disc = np.hypot(*np.mgrid[-40:40, -40:40] + 0.5) < 25
    hu = np.where(disc, 100, -100).astype(np.int16)
    for side in (30, 64, 100, 160):
        mask = square_mask(disc.astype(np.uint8), side) > 0
        assert (mask == (square_image(hu, side) > 0)).mean() > 0.97
        row_spacing, column_spacing = square_spacing((80, 80), (0.7, 0.8), side)
        area = mask.sum() * row_spacing * column_spacing
        assert area == pytest.approx(disc.sum() * 0.7 * 0.8, rel=0.06)


def test_values_of_labels_are_kept():
    labels = RNG.choice(np.uint8([0, 1, 2, 3, 255]), (30, 40))
    assert set(np.unique(square_mask(labels, 77))) <= {0, 1, 2, 3, 255}
    assert square_mask(labels, 77).dtype == np.uint8


def test_the_spacing_is_that_of_the_padded_slice():
    assert square_spacing((100, 200), (1.0, 2.0), 400) == (0.5, 1.0)


@pytest.mark.parametrize('shape', [(48, 48), (20, 48), (48, 31)])
def test_the_way_back_from_the_same_size_is_exact(shape):
    hu = HU[: shape[0], : shape[1]]
    np.testing.assert_array_equal(from_square(square_image(hu, 48), shape), hu)


@pytest.mark.parametrize('side', [24, 96])
def test_the_way_back_from_another_size_leaves_things_where_they_are(side):
    rows, columns = np.mgrid[:40, :56].astype(np.float32)
    slope = np.int16(5 * rows + 7 * columns)
    back = from_square(square_image(slope, side), slope.shape)
    assert back.shape == slope.shape
    np.testing.assert_allclose(back[6:-6, 6:-6], slope[6:-6, 6:-6], atol=1)


def test_pictures_of_slice_selection_shrink_by_area_means_within_a_margin():
    image = np.zeros((2 * DENSENET_SIDE, 4 * DENSENET_SIDE), np.uint8)
    image[::2, ::4] = 240
    small = at_selection_size(image)
    top = DENSENET_SIDE // 4
    assert (small[top:-top] == 240 / 8).all()
    assert (small[:top] == 0).all()
    assert (small[-top:] == 0).all()


def test_pictures_of_slice_selection_grow_linearly_or_stay_as_they_are():
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None], 64, axis=0)
    grown = at_selection_size(ramp)
    assert grown.shape == (DENSENET_SIDE, DENSENET_SIDE)
    assert set(np.diff(grown[100, 8:-8].astype(int))) <= {0, 1, 2}
    same = np.resize(ramp, (DENSENET_SIDE, DENSENET_SIDE))
    np.testing.assert_array_equal(at_selection_size(same), same)
