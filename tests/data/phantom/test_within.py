"""What is uneven within the tissues, and which of it has no label."""

import numpy as np
import pytest
from phantoms import mm2, paint, plain_subject, without

from bodycomp_jax.data.phantom import within
from bodycomp_jax.data.phantom.tissue import (
    MUSCLE_LABEL,
    SUBCUTANEOUS_LABEL,
    VISCERAL_LABEL,
)

L3 = 2.0
SMOOTH = without(
    within.paint_within_muscle,
    within.paint_within_subcutaneous_fat,
    within.paint_within_visceral_fat,
)


def change(painter, label, **given):
    """The canvas, where the label was, and the HU that the painter adds there."""
    subject = plain_subject(fat=25.0, **given)
    before, cut = paint(subject, L3, SMOOTH, side=280)
    after, _ = paint(subject, L3, (*SMOOTH, painter), side=280)
    where = before.labels == label
    np.testing.assert_array_equal(before.hu[~where], after.hu[~where])
    return after, cut, where, after.hu - before.hu


@pytest.mark.parametrize(
    'painter, label',
    [
        (within.paint_within_muscle, MUSCLE_LABEL),
        (within.paint_within_subcutaneous_fat, SUBCUTANEOUS_LABEL),
        (within.paint_within_visceral_fat, VISCERAL_LABEL),
    ],
)
def test_tissues_without_findings_are_a_little_uneven_and_keep_their_labels(painter, label):
    given = {'septa': 0.0, 'fascia': 0.0, 'vessels': 0.0}
    after, _, where, added = change(painter, label, **given)
    assert 1 < added[where].std() < 10
    assert (after.labels[where] == label).all()


def test_fat_within_muscle_has_no_label_and_is_more_in_the_back():
    after, cut, muscle, _ = change(within.paint_within_muscle, MUSCLE_LABEL, infiltration=1.0)
    fat = muscle & (after.labels == 0)
    assert 0.03 < fat.sum() / muscle.sum() < 0.6
    assert after.hu[fat].mean() < -30
    behind = after.y > cut.spine_y + 30
    assert (
        fat[behind].sum() / muscle[behind].sum() > 1.2 * fat[~behind].sum() / muscle[~behind].sum()
    )


def test_more_infiltration_is_more_fat():
    labelled = [
        mm2(after, after.labels == MUSCLE_LABEL)
        for after, *_ in (
            change(within.paint_within_muscle, MUSCLE_LABEL, infiltration=share)
            for share in (0.0, 0.5, 1.0)
        )
    ]
    assert labelled[0] > labelled[1] > labelled[2]


def test_septa_and_the_fascia_are_lines_that_stay_subcutaneous():
    for given in ({'septa': 1.0, 'fascia': 0.0}, {'septa': 0.0, 'fascia': 0.5}):
        after, _, fat, added = change(
            within.paint_within_subcutaneous_fat, SUBCUTANEOUS_LABEL, **given
        )
        lines = fat & (added > 25)
        assert 0.005 < lines.sum() / fat.sum() < 0.3
        assert (after.labels[fat] == SUBCUTANEOUS_LABEL).all()


def test_oedema_sinks_to_the_back():
    after, _, fat, added = change(
        within.paint_within_subcutaneous_fat, SUBCUTANEOUS_LABEL, oedema=1.0, septa=0.0, fascia=0.0
    )
    front, back = (fat & (side * after.y > 60) for side in (-1, 1))
    assert added[back].mean() > added[front].mean() + 2


def test_vessels_of_the_mesentery_have_no_label():
    after, cut, fat, _ = change(
        within.paint_within_visceral_fat, VISCERAL_LABEL, seed=0, vessels=1.0, gas=0.0
    )
    vessels = fat & (after.labels == 0)
    assert mm2(after, vessels) > 30
    assert (after.hu[vessels] > -60).all()
    assert (after.y[vessels] < cut.spine_y + 1).all()


@pytest.mark.parametrize('name, least', [('stranding', 5), ('soaked', 8)])
def test_strands_and_water_make_visceral_fat_uneven(name, least):
    spread = [
        added[fat].std()
        for _, _, fat, added in (
            change(within.paint_within_visceral_fat, VISCERAL_LABEL, vessels=0.0, **{name: value})
            for value in (0.0, 1.0)
        )
    ]
    assert spread[1] > spread[0] + least
