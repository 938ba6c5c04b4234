import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax.metrics import tissues

TISSUES = ('muscle', 'subcutaneous_fat', 'visceral_fat')


def metrics_of(prediction, mask, weight=None):
    """Metrics of predicted labels."""
    weight = np.ones(len(mask), np.float32) if weight is None else np.asarray(weight, np.float32)
    logits = jax.nn.one_hot(prediction, 4)
    sums = tissues.segmentation_sums(logits, {'mask': jnp.asarray(mask), 'weight': weight})
    return tissues.segmentation_metrics(jax.tree.map(np.asarray, sums), TISSUES)


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


def test_dice_and_areas_by_hand(case):
    found = metrics_of(*case)
    assert found['dice_muscle'] == pytest.approx(2 * 5 / (7 + 6))
    assert found['slice_dice_muscle'] == pytest.approx((6 / 7 + 4 / 6) / 2)
    assert found['area_error_percent_muscle'] == pytest.approx(100 * (1 + 2) / 6)
    assert found['dice_subcutaneous_fat'] == 1
    assert found['slice_dice_subcutaneous_fat'] == 1
    assert found['area_error_percent_subcutaneous_fat'] == 0


def test_a_tissue_that_the_set_lacks_has_no_number(case):
    found = metrics_of(*case)
    for name in ('dice', 'slice_dice', 'area_error_percent'):
        assert np.isnan(found[f'{name}_visceral_fat'])


def test_padding_counts_for_nothing(case):
    prediction, mask = case
    assert metrics_of(prediction, mask, [1, 0])['dice_muscle'] == pytest.approx(6 / 7)
    assert metrics_of(prediction, mask, [0, 1])['slice_dice_muscle'] == pytest.approx(4 / 6)
