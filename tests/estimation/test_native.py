"""Labels on the pixels of a slice."""

import numpy as np
import pytest
from fake_networks import FakeSegmenter

from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.native import segment

HU = np.full((40, 64), -1000, np.int16)
HU[8:32, 10:50] = -100
HU[16:24, 20:40] = 60


def labels_of(hu):
    return np.where(hu > 0, 1, np.where(hu > -500, 2, 0))


def segmented(segmenter, slices, side):
    return segment(segmenter, segmenter.members(), slices, side)


@pytest.mark.parametrize('shape', [(40, 64), (40, 40), (40, 50)])
def test_labels_are_on_the_pixels_of_the_slice(shape):
    hu = HU[: shape[0], : shape[1]]
    side = -(-max(shape) // 8) * 8
    found = segmented(FakeSegmenter(), [hu, hu[::-1]], side)
    if side == max(shape):
        np.testing.assert_array_equal(found[0].labels, labels_of(hu))
    for each, wanted in zip(found, (hu, hu[::-1]), strict=True):
        assert each.labels.dtype == np.uint8
        assert (each.labels == labels_of(wanted)).mean() > 0.95


@pytest.mark.parametrize('side', [32, 128])
def test_networks_of_another_size_change_areas_little(side):
    (found,) = segmented(FakeSegmenter(), [HU], side)
    for label in (1, 2):
        area, wanted = (found.labels == label).sum(), (labels_of(HU) == label).sum()
        assert area == pytest.approx(wanted, rel=0.12)


def test_networks_without_the_window_see_grey_values():
    (found,) = segmented(FakeSegmenter(threshold=100, windowed=False), [HU], 64)
    assert (found.labels == 1).sum() == (HU == 60).sum()  # 140 of 256; all else is above -500
    assert (found.labels == 2).sum() == (HU < 60).sum()


def test_members_vote_by_their_probabilities_and_their_agreement_is_told():
    members = [FakeSegmenter(0), FakeSegmenter(0), FakeSegmenter(100)]
    ensemble = FakeSegmenter(members=members)
    (found,) = segmented(ensemble, [HU], 64)
    np.testing.assert_array_equal(found.labels, labels_of(HU))
    assert found.agreement['muscle_members_dice'] == pytest.approx(1 / 3)  # of 1, 0 and 0
    inner, outer = (HU == 60).sum(), (HU == -100).sum()
    dice = 2 * outer / (2 * outer + inner)
    assert found.agreement['subcutaneous_fat_members_dice'] == pytest.approx((1 + 2 * dice) / 3)
    assert found.agreement['visceral_fat_members_dice'] is None


def test_a_single_network_agrees_with_nobody():
    (found,) = segmented(FakeSegmenter(), [HU], 64)
    assert set(found.agreement.values()) == {None}


def test_sizes_that_the_network_cannot_take_are_refused():
    with pytest.raises(InputError, match='--size=60: the network takes multiples of 8'):
        segmented(FakeSegmenter(), [HU], 60)
