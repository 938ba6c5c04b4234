import numpy as np
import pytest

from bodycomp_jax import ct


@pytest.mark.parametrize(
    ('hu', 'grey'), [(-2000, 0), (-160, 0), (40, 128), (-60, 64), (238, 254.72), (3000, 255)]
)
def test_window_maps_40_400_to_grey_values(hu, grey):
    assert ct.window(np.array([hu], np.int16))[0] == pytest.approx(grey)


def test_thoracic_models_have_no_visceral_fat():
    assert ct.tissues(thoracic=False) == ('muscle', 'subcutaneous_fat', 'visceral_fat')
    assert ct.tissues(thoracic=True) == ('muscle', 'subcutaneous_fat')


def test_area_counts_pixels_of_each_slice_in_square_centimetres():
    labels = np.zeros((2, 10, 10), np.uint8)
    labels[0, :4, :5] = 1
    np.testing.assert_allclose(ct.area_cm2(labels, 1, (2.0, 0.5)), [0.2, 0.0])
