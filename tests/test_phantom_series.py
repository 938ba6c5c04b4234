import numpy as np
import pytest

from bodycomp_jax.config import SliceSelectionConfig
from bodycomp_jax.data import phantom_series
from bodycomp_jax.data.slice_selection import open_sets

SIDE, SPACING = 64, 15.0
BONE_HU = 250


@pytest.fixture(scope='module')
def body():
    return phantom_series.draw(7, 128, 4.0)


def nearest(body, z):
    return body.hu[np.abs(body.z - z).argmin()]


def middle(image):
    """The strip in which the spine is."""
    side = len(image)
    return image[:, side * 2 // 5 : side * 3 // 5]


def test_a_body_is_a_function_of_its_seed(body):
    again = phantom_series.draw(7, 128, 4.0)
    np.testing.assert_array_equal(again.hu, body.hu)
    other = phantom_series.draw(8, 128, 4.0)
    assert other.levels != body.levels
    assert body.hu.dtype == np.int16


def test_vertebrae_follow_each_other_and_shrink_towards_the_head(body):
    heights = np.diff([body.levels[name] for name in phantom_series.LEVELS])
    assert (heights > 25).all()
    assert (heights < 40).all()
    assert heights[-3:].mean() < heights[:3].mean()
    assert body.z[0] < body.levels['L5'] - 100
    assert body.z[-1] >= body.levels['T9'] - 4


def test_there_is_more_bone_in_a_vertebra_than_in_a_disc(body):
    for lower, upper in (('L4', 'L3'), ('L3', 'L2')):
        vertebra = nearest(body, body.levels[upper])
        disc = nearest(body, (body.levels[lower] + body.levels[upper]) / 2)
        assert (middle(vertebra) > 120).sum() > 1.3 * (middle(disc) > 120).sum()


def test_lungs_are_above_and_hips_below(body):
    lung = [(np.abs(hu + 850) < 60).mean() for hu in (body.hu[0], body.hu[-1])]
    assert lung[1] > 0.05 > lung[0]
    hips = (body.hu[0] > BONE_HU).mean()
    assert hips > 1.5 * (nearest(body, body.levels['L3']) > BONE_HU).mean()


def test_a_dataset_has_whole_bodies_in_one_split_alone(tmp_path):
    levels = ('L3', 'T12')
    phantom_series.write_dataset(
        tmp_path, train=2, val=1, side=SIDE, spacing=SPACING, levels=levels
    )
    config = SliceSelectionConfig(levels=levels)
    train_set, val_set = open_sets(tmp_path, config, tmp_path, lambda items, count, title: items)
    assert list(train_set.series) == ['body_000000', 'body_000001']
    assert list(val_set.series) == ['body_000002']
    drawn = phantom_series.draw(2, SIDE, SPACING)
    expected = np.stack([drawn.z - drawn.levels[level] for level in levels], axis=1)
    np.testing.assert_allclose(val_set.offsets, expected, atol=0.051)
    assert (val_set.offsets[:, 0] > val_set.offsets[:, 1]).all()  # T12 is nearer to the head
