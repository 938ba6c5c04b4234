"""What is measured of tissues in a slice."""

import numpy as np
import pytest

from bodycomp_jax.metrics.slices import NUMBERS, compare, regions, without_unlabelled

TISSUES = ('muscle', 'visceral_fat')


def measured(predicted, labelled, hu=None):
    """{number: value} of the first of two tissues; pixels of 0.5 x 2, an area of 0.01 each."""
    hu = np.zeros(labelled.shape) if hu is None else hu
    options = {'spacing': (0.5, 2.0), 'pixel_area': 0.01, 'tissues': TISSUES}
    pair = [regions(labels, hu, **options)[0] for labels in (predicted, labelled)]
    return dict(zip(NUMBERS, compare(*pair), strict=True))


def test_counts_areas_and_means():
    labelled, predicted = np.zeros((2, 8, 8), np.uint8)
    labelled[2:6, 2:6], predicted[2:6, 3:7] = 1, 1
    predicted[0, 0] = 2
    hu = np.tile(np.arange(8.0), (8, 1))
    found = measured(predicted, labelled, hu)
    assert (found['intersection'], found['predicted'], found['labelled']) == (12, 16, 16)
    assert found['dice'] == pytest.approx(0.75)
    assert found['area'] == found['labelled_area'] == pytest.approx(0.16)
    assert (found['mean'], found['labelled_mean']) == (4.5, 3.5)
    assert found['hd95'] == pytest.approx(2)
    assert found['area_error'] == 0


def test_a_tissue_that_is_not_labelled_has_an_area_error_alone():
    labelled, predicted = np.zeros((2, 8, 8), np.uint8)
    predicted[2:4, 2:4] = 1
    found = measured(predicted, labelled)
    assert found['area_error'] == pytest.approx(0.04)
    assert np.isnan([found['dice'], found['surface_dice_1'], found['hd95']]).all()
    assert np.isnan(found['labelled_mean'])


def test_a_tissue_that_is_not_predicted_has_a_dice_of_0():
    labelled = np.zeros((8, 8), np.uint8)
    labelled[2:4, 2:4] = 1
    found = measured(np.zeros_like(labelled), labelled)
    assert found['dice'] == found['surface_dice_1'] == 0
    assert np.isnan(found['hd95'])
    assert np.isnan(found['mean'])


def test_pixels_that_nobody_labelled_count_nowhere():
    mask = np.full((8, 8), 255, np.uint8)
    mask[:4] = 1
    found = without_unlabelled(np.ones_like(mask), mask)
    assert found[:4].all()
    assert not found[4:].any()
