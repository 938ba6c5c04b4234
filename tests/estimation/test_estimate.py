"""A series from Python."""

import fake_scans
import numpy as np
import pytest
from fake_networks import FakeSegmenter, FakeSelector

import bodycomp_jax
from bodycomp_jax.data.masks.labels import HU_LIMITS, label_map
from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.estimate import by_mask, measure_places
from bodycomp_jax.estimation.places import every_slice

Z = np.arange(-100, 101, 5)
HU = np.full((16, 16), -1000, np.int16)
HU[2:14, 2:14] = -100
HU[6:10, 6:10] = 50


def series(**metadata):
    def hu(i):
        image = HU.copy()
        image[0, 0] = 300 + Z[i]  # what the fake network takes for z
        return image

    return fake_scans.series(Z, hu=hu, shape=HU.shape, **metadata)


SELECTOR = FakeSelector({'L3': 300.0, 'T12': 390.0})


def estimate(selector=SELECTOR, of=None, **options):
    return bodycomp_jax.estimate(of or series(), FakeSegmenter(), selector, size=16, **options)


def test_levels_are_found_labelled_and_measured():
    found = estimate()
    assert (found.status, found.reason) == ('measured', '')
    assert [(m.level, m.index) for m in found.measured] == [('L3', 20), ('T12', 38)]
    first = found.measured[0]
    np.testing.assert_array_equal(first.hu, series().hu(20))
    assert (first.labels == 1).sum() == 17  # and the pixel that says z
    assert first.numbers['muscle_area_cm2'] == pytest.approx(17)
    assert first.numbers['limited_muscle_area_cm2'] == pytest.approx(16)
    assert first.numbers['muscle_members_dice'] is None


def test_a_level_outside_is_missing_and_others_are_measured():
    found = estimate(FakeSelector({'L3': 300.0, 'T12': 490.0}))
    assert found.status == 'measured'
    assert [m.level for m in found.measured] == ['L3']
    assert found.missing['T12'].status == 'level_outside_scan'
    only = estimate(FakeSelector({'L3': 300.0, 'T12': 490.0}), levels=['T12'])
    assert only.status == 'level_outside_scan'
    assert only.reason == only.missing['T12'].reason
    assert not only.measured


def test_each_slice_without_levels():
    found = estimate(None)
    assert [(m.level, m.index) for m in found.measured] == [('slice', i) for i in range(len(Z))]


def test_positions_overrule_the_network():
    found = estimate(positions={'L3': -51.0}, levels=['L3'])
    assert [(m.level, m.index) for m in found.measured] == [('L3', 10)]
    assert [m.index for m in estimate(None, positions={'T5': 0.0}).measured] == [20]


@pytest.mark.parametrize(('size', 'smi'), [('2', 17 / 4), ('200', 17 / 4), ('', None)])
def test_the_height_in_the_files_gives_the_index(size, smi):
    numbers = estimate(of=series(patient_size=size)).measured[0].numbers
    assert numbers['smi_cm2_m2'] == (pytest.approx(smi) if smi else None)
    given = estimate(of=series(patient_size=size), height_m=1.0).measured[0].numbers
    assert given['smi_cm2_m2'] == pytest.approx(17)


def test_masks_are_measured_as_they_are():
    class Mask:
        def labels(self, i):
            return np.where(HU > -1000, 3, 0).astype(np.uint8)

    regions = label_map('saros', hu_limits=HU_LIMITS['alberta'])
    for meaning, cm2 in ((label_map(), 144), (regions, 128)):
        found = measure_places(
            series(), every_slice(series()), by_mask(Mask(), meaning), HU_LIMITS['alberta'], None
        )
        assert len(found.measured) == len(Z)
        assert found.measured[0].numbers['visceral_fat_area_cm2'] == pytest.approx(cm2)


def test_a_trained_network_labels_the_pixels_of_a_slice(finished_run, data_dir):
    model = bodycomp_jax.load_model(finished_run.run_dir)
    images = np.load(data_dir / 'val_images.npy')[..., 0]
    phantoms = fake_scans.series([0.0, 1.0], hu=lambda i: images[i], shape=images.shape[1:])
    found = bodycomp_jax.estimate(phantoms, model, size=images.shape[1])
    labels = np.stack([measured.labels for measured in found.measured])
    np.testing.assert_array_equal(labels, model(images[:2])[1])
    cm2 = [measured.numbers['muscle_area_cm2'] for measured in found.measured]
    np.testing.assert_allclose(cm2, (labels == 1).sum((1, 2)))


def test_what_is_unknown_is_refused():
    with pytest.raises(InputError, match='nothing says where L1 is; the network knows L3, T12'):
        estimate(levels=['L1'])
    with pytest.raises(InputError, match="hu_limits='narrow': choose from alberta, boa"):
        estimate(hu_limits='narrow')
