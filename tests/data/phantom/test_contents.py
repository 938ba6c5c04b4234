"""Organs, bowel and lumps of subjects: where they are and what fills them."""

from itertools import pairwise

import numpy as np
import pytest
from phantoms import plain_subject

from bodycomp_jax.data.phantom.curves import BACK, FRONT, RIGHT
from bodycomp_jax.data.phantom.cut import Cut

COLON = 33  # pieces, the last of the bowel


@pytest.fixture(scope='module')
def subjects():
    return [plain_subject(seed) for seed in range(24)]


def test_organs_are_on_their_side_and_at_their_height(subjects):
    for subject in subjects:
        abdomen, chest = subject.abdomen, subject.chest
        assert (
            abdomen.liver[0].x < 0 < abdomen.spleen[0].x
        )  # the picture shows the right on the left
        assert abdomen.gall_bladder.x < 0 < abdomen.stomach[0].x
        right, left = abdomen.kidneys
        assert right.x < 0 < left.x
        assert right.t < 4.7 and left.t < 4.7
        assert abdomen.bladder.t < -3
        assert chest.heart.t > 8
        assert len(abdomen.liver) in (2, 3, 4) and len(abdomen.spleen) in (1, 2)


def test_kidneys_reach_from_l3_to_t12(subjects):
    kidneys = [kidney for subject in subjects for kidney in subject.abdomen.kidneys]
    lower, upper = (np.median([k.t + side * k.h for k in kidneys]) for side in (-1, 1))
    assert 1.3 < lower < 2.2 and 4.4 < upper < 5.2


def test_tips_of_liver_and_spleen_are_beside_the_wall_in_half_the_subjects(subjects):
    tips = [
        lobe
        for s in subjects
        for lobe in (*s.abdomen.liver[2:], *s.abdomen.spleen[1:])
        if abs(lobe.x) > 0.7 * s.outlines.at(3.5).cavity[RIGHT]
    ]
    assert 0.2 < len(tips) / (2 * len(subjects)) < 0.8
    assert max(tip.a for tip in tips) < 60


def test_the_stomach_reaches_the_front_in_half_the_subjects(subjects):
    in_front = [
        any(
            part.y - part.b < -0.9 * s.outlines.at(3.5).cavity[FRONT]
            for part in s.abdomen.stomach[1:]
        )
        for s in subjects
    ]
    assert 0.2 < np.mean(in_front) < 0.8


def test_organs_move_with_the_diaphragm_and_the_bladder_stays():
    low, high = (plain_subject(diaphragm=t) for t in (-0.6, 0.4))
    for share, name in ((0.5, 'liver'), (0.3, 'kidneys')):
        (a, *_), (b, *_) = getattr(low.abdomen, name), getattr(high.abdomen, name)
        assert b.t - a.t == pytest.approx(share)
    assert low.abdomen.bladder == high.abdomen.bladder
    assert high.chest.domes[0].t - low.chest.domes[0].t == pytest.approx(1)


def test_the_liver_reaches_the_back_in_half_the_subjects(subjects):
    behind = [
        any(lobe.y > 0.1 * s.outlines.at(3.5).cavity[BACK] for lobe in s.abdomen.liver[2:])
        for s in subjects
    ]
    assert 0.2 < np.mean(behind) < 0.8


def test_the_middles_of_organs_are_in_the_cavity(subjects):
    for subject in subjects:
        cavity = subject.outlines.at(3.5).cavity
        abdomen = subject.abdomen
        for organ in (*abdomen.liver, *abdomen.spleen, *abdomen.kidneys, *abdomen.stomach):
            assert np.hypot(organ.x / cavity[RIGHT], organ.y / cavity[BACK]) < 1.3


def test_a_larger_cavity_has_larger_organs():
    small, large = (plain_subject(half_width=mm) for mm in (105.0, 150.0))
    wider = large.outlines.at(3.5).cavity[RIGHT] / small.outlines.at(3.5).cavity[RIGHT]
    for name in ('liver', 'spleen'):
        ratio = getattr(large.abdomen, name)[0].a / getattr(small.abdomen, name)[0].a
        assert ratio == pytest.approx(wider, rel=0.1)


def test_there_are_as_many_small_loops_as_the_person_has():
    few, many = (plain_subject(bowel=number) for number in (40.0, 240.0))
    assert len(many.bowel) - len(few.bowel) == 200


def test_a_run_of_small_bowel_is_a_tube_with_one_content():
    for share in (0.1, 0.7):
        first, *others = run = plain_subject(bowel=8.0, gas=share).bowel[:8]
        for loop in others:
            assert loop.lumen.tissue == first.lumen.tissue and loop.lumen.gas == first.lumen.gas
        for (one, *_), (next_one, *_) in pairwise(run):
            apart = np.hypot(one.x - next_one.x, one.y - next_one.y), 33 * abs(one.t - next_one.t)
            assert np.hypot(*apart) < one.a + next_one.a


def test_runs_of_small_bowel_turn_back_at_the_limits_of_their_place():
    for seed in range(5):
        subject = plain_subject(seed, bowel=240.0)
        lumens = [loop.lumen for loop in subject.bowel[:240]]
        width = subject.outlines.at(3.5).cavity[RIGHT]
        assert all(abs(lumen.x) < 0.7 * width + 45 for lumen in lumens)
        assert all(-3.5 - 45 / 33 < lumen.t < 4.5 + 45 / 33 for lumen in lumens)


def test_the_colon_goes_up_across_and_down_and_is_as_wide_as_the_person_has_it():
    narrow, wide = (plain_subject(colon=mm).bowel[-30:] for mm in (12.0, 33.0))
    assert np.mean([lumen.b for lumen, *_ in wide]) > 2 * np.mean([lumen.b for lumen, *_ in narrow])
    x = np.array([lumen.x for lumen, *_ in wide])
    t = np.array([lumen.t for lumen, *_ in wide])
    assert t.min() < -4 and t.max() > 3.5
    assert x.max() > 60 > -60 > x.min()
    assert (np.diff(x[-14:-6]) > 0).all()  # between the columns and the sigmoid


def test_the_duodenum_crosses_the_great_vessels_at_l3():
    for seed in range(5):
        subject = plain_subject(seed, bowel=50.0)
        pieces = [lumen for lumen, *_ in subject.bowel[50:-COLON]]
        crossing = [lumen for lumen in pieces if abs(lumen.x) < 20]
        assert all(1.3 < lumen.t < 2.7 for lumen in crossing)
        spine_y = Cut(subject, 2.0).spine_y
        assert all(-75 < lumen.y - spine_y < 0 for lumen in crossing)
        assert max(lumen.t for lumen in pieces if lumen.x < -20) > 3.5


@pytest.mark.parametrize('share', [0.0, 1.0])
def test_stool_is_mottled_and_fills_its_share_of_the_colon(share):
    bowel = plain_subject(stool=share, bowel=50.0).bowel
    mottled = [lumen.mottled > 0 for lumen, *_ in bowel]
    assert not any(mottled[:-COLON])
    assert np.mean(mottled[-COLON:]) == share


@pytest.mark.parametrize('share', [0.1, 0.7])
def test_gas_is_in_its_share_of_the_colon_and_less_of_small_bowel(share):
    loops = [plain_subject(seed, gas=share).bowel for seed in range(5)]
    has_gas = [[lumen.gas is not None for lumen, *_ in each] for each in loops]
    assert np.mean([each[-20:] for each in has_gas]) == pytest.approx(share, abs=0.12)
    assert np.mean([each[:40] for each in has_gas]) == pytest.approx(0.4 * share, abs=0.12)


def test_oral_contrast_is_in_some_loops():
    without, with_agent = (
        [lumen.tissue.hu for lumen, *_ in plain_subject(oral_contrast=hu).bowel]
        for hu in (0.0, 500.0)
    )
    assert max(without) < 100
    assert 0.2 < np.mean(np.array(with_agent) > 250) < 0.8


def test_lumps_are_as_many_as_the_person_has():
    assert plain_subject().masses == []
    masses = plain_subject(masses=5.0).masses
    assert len(masses) == 5
    assert np.ptp([mass.tissue.hu for mass in masses]) > 50
