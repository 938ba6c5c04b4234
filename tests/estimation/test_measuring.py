"""Areas and densities of the tissues in a slice."""

import math

import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data

from bodycomp_jax import ct
from bodycomp_jax.data.masks.labels import HU_LIMITS, HULimits
from bodycomp_jax.data.scans import Grid, find_series
from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.measuring import COLUMNS, measure

LABELS = np.array([[1, 1, 1, 1, 1], [2, 2, 3, 3, 0], [4, 0, 0, 0, 0]], np.uint8)
HU = np.array([[-100, 0, 30, 60, 160], [-100, -20, -100, -40, 0], [-60, 0, 0, 0, 0]], np.int16)


def grid(tilt=0.0):
    angle = math.radians(tilt)
    down = (0.0, math.cos(angle), math.sin(angle))
    return Grid(3, 5, (20.0, 5.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), down)  # pixels of 1 cm2


def measured(**options):
    return measure(LABELS, HU, grid(), HULimits(), **options)


def test_each_column_has_a_number():
    numbers = measured(height_m=2.0)
    assert numbers.keys() == COLUMNS.keys()
    assert None not in numbers.values()


def test_areas_are_of_all_pixels_and_of_those_within_limits():
    areas = {
        name.removesuffix('_area_cm2'): cm2
        for name, cm2 in measured().items()
        if name.endswith('_area_cm2')
    }
    assert areas == pytest.approx({
        'muscle': 5, 'subcutaneous_fat': 2, 'visceral_fat': 2,
        'limited_muscle': 3, 'limited_subcutaneous_fat': 1, 'limited_visceral_fat': 1,
        'intermuscular_fat': 2, 'low_attenuation_muscle': 1, 'normal_attenuation_muscle': 2,
    })  # fmt: skip


def test_limits_of_visceral_fat_are_a_convention():
    numbers = measure(LABELS, HU, grid(), HU_LIMITS['boa'])
    assert numbers['limited_visceral_fat_area_cm2'] == pytest.approx(2)


def test_statistics_are_those_of_the_pixels():
    numbers = measured()
    values = np.array([0, 30, 60])
    assert numbers['limited_muscle_mean_hu'] == 30
    assert numbers['limited_muscle_std_hu'] == pytest.approx(math.sqrt(600))
    assert numbers['limited_muscle_median_hu'] == 30
    quartiles = numbers['limited_muscle_q25_hu'], numbers['limited_muscle_q75_hu']
    assert quartiles == pytest.approx(tuple(np.quantile(values, (0.25, 0.75))))
    assert numbers['limited_muscle_iqr_hu'] == 30


def test_ratios():
    numbers = measured(height_m=2.0)
    assert numbers['vat_sat_ratio'] == numbers['limited_vat_sat_ratio'] == 1
    assert numbers['smi_cm2_m2'] == 1.25
    assert numbers['limited_smi_cm2_m2'] == 0.75


def test_what_is_unknown_has_no_number():
    numbers = measured(tissues=ct.tissues(thoracic=True))
    assert numbers['visceral_fat_area_cm2'] is numbers['vat_sat_ratio'] is None
    assert numbers['smi_cm2_m2'] is None
    empty = measure(np.zeros_like(LABELS), HU, grid(), HULimits())
    assert empty['muscle_area_cm2'] == 0
    assert empty['muscle_mean_hu'] is empty['vat_sat_ratio'] is None


def test_areas_are_corrected_for_the_tilt():
    numbers = measure(LABELS, HU, grid(tilt=10.0), HULimits())
    assert numbers['tilt_degrees'] == pytest.approx(10)
    assert numbers['muscle_area_cm2'] == pytest.approx(5 * math.cos(math.radians(10)))


def test_slices_that_nobody_labelled_are_refused():
    labels = LABELS.copy()
    labels[2, 1:3] = ct.NOT_LABELLED
    with pytest.raises(InputError, match='2 of 15 pixels are not labelled'):
        measure(labels, HU, grid(), HULimits())


@needs_shared_data
def test_labels_of_another_program_have_the_areas_it_gives():
    (series,) = find_series(SHARED_DATA / 'l3_other_patient').series
    labels = np.load(SHARED_DATA / 'l3_other_patient/labels.npy')
    numbers = measure(labels, series.hu(0), series.slices[0].grid, HU_LIMITS['alberta'])
    for tissue, cm2 in {
        'muscle': 170.3, 'subcutaneous_fat': 117.5, 'visceral_fat': 277.7,
        'intermuscular_fat': 10.2,
    }.items():  # fmt: skip
        assert numbers[f'{tissue}_area_cm2'] == pytest.approx(cm2, abs=0.05)
    assert numbers['field_of_view_cut_percent'] < 1
