"""Rows of the table of results."""

import dataclasses

import fake_scans
import numpy as np
import pytest

from bodycomp_jax.data.masks.labels import HULimits
from bodycomp_jax.estimation.measuring import COLUMNS
from bodycomp_jax.estimation.native import AGREEMENT
from bodycomp_jax.estimation.result import Curve, Estimate, Measured, Missing
from bodycomp_jax.estimation.rows import as_text, columns, on_page, rows_of
from bodycomp_jax.vertebrae import LevelPosition

PIXELS = np.zeros((8, 8), np.uint8)
NUMBERS = {**dict.fromkeys((*COLUMNS, *AGREEMENT)), 'field_of_view_cut_percent': 1.0}


def estimate(misfit=0.0, position='HFS', **numbers):
    series = fake_scans.series([0.0, 5.0], patient_position=position)
    measured = Measured('L3', 1, PIXELS, PIXELS.astype(np.int16), NUMBERS | numbers)
    z = np.array([0.0, 5.0])
    curves = {
        level: Curve(z, z - 4, LevelPosition(mm, misfit, False))
        for level, mm in (('L3', 4.0), ('T12', np.nan))
    }
    missing = {'T12': Missing('level_outside_scan', 'because')}
    return Estimate(series, 'measured', '', [measured], curves, series.metadata, missing)


def rows(found, flag=''):
    return rows_of(found, HULimits(), {}, reference='inferior', height_m=None, flag=flag)


def test_each_value_has_a_column():
    header = columns(['L3', 'T12'])
    for row in rows(estimate()):
        assert row.keys() <= header.keys()
    assert len(header) == len(set(header))


def test_the_page_has_the_tissues_of_every_level_in_the_same_columns():
    """Not what happens to begin like a level."""
    row = {'level': 'slice', 'slice_thickness_mm': '5', 'slice_muscle_area_cm2': 81.0}
    shown = {'level': 'slice', 'slice_thickness_mm': '5', 'muscle_area_cm2': 81.0}
    assert on_page(row) == shown


def test_measured_levels_come_before_missing_ones():
    first, second = rows(estimate())
    assert (first['level'], first['status'], first['slice']) == ('L3', 'measured', 1)
    assert (first['level_z_mm'], first['level_confidence']) == (4.0, 1.0)
    assert first['level_reference'] == second['level_reference'] == 'inferior'
    assert (second['level'], second['status'], second['reason']) == (
        'T12', 'level_outside_scan', 'because',
    )  # fmt: skip
    assert second['level_z_mm'] is None
    assert 'slice' not in second


@pytest.mark.parametrize(
    ('changes', 'flags'),
    [
        ({}, ''),
        ({'misfit': 0.11}, 'level_uncertain'),
        ({'muscle_area_cm2': 0.0}, 'no_muscle'),
        ({'field_of_view_cut_percent': 6.0}, 'field_of_view_cut'),
        ({'muscle_members_dice': 0.8, 'visceral_fat_members_dice': 1.0}, 'members_disagree'),
        ({'muscle_members_dice': 0.95}, ''),
        ({'position': 'FFP'}, 'prone'),
        ({'position': ''}, ''),
        ({'position': 'HFP', 'misfit': 0.2}, 'level_uncertain;prone'),
    ],
)
def test_flags_say_what_may_be_wrong(changes, flags):
    assert rows(estimate(**changes))[0]['flags'] == flags


def test_an_odd_height_is_flagged():
    assert rows(estimate(), 'height_in_cm')[0]['flags'] == 'height_in_cm'


def test_levels_that_were_given_have_no_confidence():
    row, _ = rows(dataclasses.replace(estimate(), curve={}))
    assert 'level_confidence' not in row
    assert row['flags'] == ''


@pytest.mark.parametrize(
    ('value', 'text'),
    [(None, ''), ('a,b', 'a,b'), (3, '3'), (170.30919, '170.309'), (0.0, '0'), (-303.5, '-303.5')],
)
def test_unknown_is_empty_and_numbers_have_a_decimal_point(value, text):
    assert as_text(value) == text
