import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data

from bodycomp_jax.data.scans import find_series
from bodycomp_jax.data.scans.field_of_view import cut_share

DISTANCES = np.hypot(*np.mgrid[-40:40, -40:40])
BODY = np.where(DISTANCES < 30, 40, -1000)


def test_a_body_that_is_shown_whole_is_not_cut():
    assert cut_share(BODY) == 0
    assert cut_share(np.where(DISTANCES > 38, -1024, BODY)) == 0


def test_air_within_the_body_is_not_outside_the_field_of_view():
    assert cut_share(np.where(DISTANCES < 10, -1024, BODY)) == 0


def test_a_body_that_fills_the_field_of_view_is_cut_all_around():
    assert cut_share(np.where(DISTANCES > 20, -1024, BODY)) == 1
    assert cut_share(np.full((20, 20), 40)) == 1


def test_a_body_that_was_cut_out_of_its_surroundings_is_not_cut():
    y, x = np.mgrid[-40:40, -40:40]
    ellipse = np.where((x / 35) ** 2 + (y / 25) ** 2 < 1, 40, -1024)
    assert cut_share(ellipse) == 0
    assert 0.2 < cut_share(ellipse[:40]) < 1


def test_half_a_body_is_cut_along_its_middle():
    diameter, half_circle = 60, np.pi * 30
    expected = diameter / (diameter + half_circle)
    assert cut_share(BODY[:40]) == pytest.approx(expected, abs=0.08)


def test_a_picture_without_a_body_is_not_cut():
    assert cut_share(np.full((8, 8), -1024)) == 0


@needs_shared_data
def test_a_small_field_of_view_is_told_from_a_whole_body():
    small = find_series(SHARED_DATA / 'dicom/odd_objects/lumbar_tilt_small_fov.dcm').series[0]
    assert cut_share(small.hu(0)) > 0.5
    whole = find_series(SHARED_DATA / 'l3_other_patient').series[0]
    assert cut_share(whole.hu(0)) < 0.01
