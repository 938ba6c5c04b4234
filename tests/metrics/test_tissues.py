import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax import ct
from bodycomp_jax.metrics.tissues import summarize_tissues, tissue_areas

TISSUES = ('muscle', 'subcutaneous_fat', 'visceral_fat')


@pytest.fixture
def case():
    """Two slices; muscle occurs in both, subcutaneous fat in one, visceral fat in none."""
    mask = np.zeros((2, 4, 4), np.uint8)
    mask[0, 0, :] = 1
    mask[1, 0, :2] = 1
    mask[1, 2, :] = 2
    prediction = mask.copy()
    prediction[0, 0, 0] = 0  # 3 of 4 found
    prediction[1, 1, :2] = 1  # 2 found, 2 too many
    return prediction, mask


def areas_of(prediction, mask):
    areas = tissue_areas(jax.nn.one_hot(prediction, 4), jnp.asarray(mask))
    return jax.tree.map(np.asarray, areas)


def test_areas_of_each_slice_by_hand(case):
    areas = areas_of(*case)
    np.testing.assert_array_equal(areas['intersection'], [[3, 0, 0], [2, 4, 0]])
    np.testing.assert_array_equal(areas['predicted'], [[3, 0, 0], [4, 4, 0]])
    np.testing.assert_array_equal(areas['labelled'], [[4, 0, 0], [2, 4, 0]])


def test_dice_and_area_errors_by_hand(case):
    found = summarize_tissues(areas_of(*case), tissues=TISSUES)
    assert found['dice_muscle'] == pytest.approx(2 * 5 / (7 + 6))
    assert found['slice_dice_muscle'] == pytest.approx((6 / 7 + 4 / 6) / 2)
    assert found['area_error_percent_muscle'] == pytest.approx(100 * (1 + 2) / 6)
    assert found['dice_subcutaneous_fat'] == 1
    assert found['slice_dice_subcutaneous_fat'] == 1
    assert found['area_error_percent_subcutaneous_fat'] == 0


def test_a_tissue_that_does_not_occur_has_no_metrics(case):
    found = summarize_tissues(areas_of(*case), tissues=TISSUES)
    for name in ('dice', 'slice_dice', 'area_error_percent'):
        assert np.isnan(found[f'{name}_visceral_fat'])


def test_pixels_that_are_not_labelled_count_in_no_area(case):
    prediction, mask = case
    cut = areas_of(prediction[:, :, 1:], mask[:, :, 1:])
    mask[:, :, 0] = ct.NOT_LABELLED
    assert prediction[:, :, 0].any()
    jax.tree.map(np.testing.assert_array_equal, areas_of(prediction, mask), cut)
