import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax import ct

HU_TO_GREY = {
    -32768: 0, -161: 0, -160: 0, -60: 64, 40: 128, 238: 254.72, 239: 255, 32767: 255,
}  # fmt: skip


@pytest.mark.parametrize('dtype', [np.int16, np.int32, np.float32])
def test_window_maps_40_400_to_grey_values(dtype):
    hu, grey = np.array([[*HU_TO_GREY], [*HU_TO_GREY.values()]])
    np.testing.assert_allclose(ct.window(hu.astype(dtype)), grey, rtol=1e-6)
    on_device = jax.jit(ct.window)(jnp.asarray(hu, dtype))
    assert on_device.dtype == jnp.float32
    np.testing.assert_allclose(on_device, grey, rtol=1e-6)


@pytest.mark.parametrize(
    ('thoracic', 'names'),
    [
        (False, {1: 'muscle', 2: 'subcutaneous_fat', 3: 'visceral_fat'}),
        (True, {1: 'muscle', 2: 'subcutaneous_fat'}),
    ],
)
def test_tissues_are_the_labels_of_the_masks_on_disk(thoracic, names):
    assert dict(enumerate(ct.tissues(thoracic), 1)) == names


@pytest.mark.parametrize('array', [np.asarray, jnp.asarray])
def test_area_counts_the_pixels_of_one_label_in_square_centimetres(array):
    labels = np.zeros((2, 3, 10, 12), np.uint8)
    labels[0, 0, :4, :5] = 1
    labels[0, 0, 4:, :5] = 2
    labels[1, 2, -1, -7:] = 1
    areas = ct.area_cm2(array(labels), 1, (0.8, 0.7))  # pixels of 0.56 mm2
    np.testing.assert_allclose(areas, [[0.112, 0, 0], [0, 0, 0.0392]], rtol=1e-6)


@pytest.mark.parametrize(
    ('labels', 'label', 'spacing', 'message'),
    [
        (np.zeros((2, 8, 8), np.float32), 1, (0.8, 0.7), 'type float32.*not its probabilities'),
        (np.zeros((2, 8, 8), np.uint8), 'muscle', (0.8, 0.7), "label 'muscle': .* such as 1"),
        (np.zeros((2, 8, 8), np.uint8), 1, (-0.8, 0.7), r'pixel_spacing_mm=\(-0.8, 0.7\)'),
        (np.zeros((2, 8, 8), np.uint8), 1, (0, 0), 'two positive numbers of mm'),
        (np.zeros((2, 8, 8), np.uint8), 1, (0.8, float('nan')), 'two positive numbers of mm'),
        (np.zeros((2, 8, 8), np.uint8), 1, ('0.8', '0.7'), 'two positive numbers of mm'),
        (np.zeros((2, 8, 8), np.uint8), 1, (0.8, 0.7, 5), 'two positive numbers of mm'),
        (np.zeros((2, 8, 8), np.uint8), 1, 0.8, 'two positive numbers of mm'),
    ],
)
def test_areas_of_something_else_are_refused(labels, label, spacing, message):
    with pytest.raises(ValueError, match=message):
        ct.area_cm2(labels, label, spacing)


@pytest.mark.parametrize(
    ('shape', 'expected'),
    [
        ((512, 512, 80), True),
        ((512, 512, 80, 1), True),
        ((80, 512, 512), False),
        ((64, 64, 64), False),
        ((512, 512), False),
    ],
)
def test_a_square_that_comes_first_tells_that_slices_are_last(shape, expected):
    assert ct.slices_last(shape) is expected
