"""Bones: vertebrae with discs between them, ribs, the sacrum, screws; none has a label."""

import numpy as np
import pytest
import scipy.ndimage
from phantoms import mm2, paint, plain_subject

from bodycomp_jax.data.phantom import bones
from bodycomp_jax.data.phantom.tissue import DISC, METAL, SOFT

STRAIGHT = {'lordosis': 0.0, 'lean': 0.0, 'uneven': 0.0, 'arches': 0.0}


def bone(subject, t, *painters):
    """The canvas with these bones alone, its cut, and where they are bright."""
    canvas, cut = paint(subject, t, painters, side=420)
    return canvas, cut, canvas.hu > 150


def middle_of_body(subject, t):
    canvas, cut = paint(subject, t, [bones.paint_vertebra], side=210)
    near = np.hypot(canvas.x, canvas.y - cut.spine_y) < 12
    return canvas.hu[near]


@pytest.mark.parametrize('level', range(9))
def test_there_is_bone_at_a_level_and_a_disc_above(level):
    subject = plain_subject(spongy_hu=200.0)
    body, disc = middle_of_body(subject, level), middle_of_body(subject, level + 0.5)
    assert body.mean() == pytest.approx(200, rel=0.15)
    assert 20 < body.std() < 60  # it is uneven
    assert disc.mean() == pytest.approx(DISC.hu)


def test_bone_has_no_label():
    for t in (-3.0, -1.0, 2.0, 8.0):
        canvas, _ = paint(plain_subject(cortical_hu=800.0), t, side=280)
        bone = canvas.hu > 700
        assert bone.any() and not canvas.labels[bone].any()


def test_vertebrae_have_processes_beside_the_middle_of_their_height_and_behind_below_it():
    subject = plain_subject(bend=0.0, **STRAIGHT)
    for up, wide in ((0.15, True), (0.5, False)):
        canvas, cut, bright = bone(subject, 2 + up, bones.paint_vertebra)
        assert (np.abs(canvas.x[bright]).max() > 38 * cut.size) == wide
    canvas, cut, bright = bone(subject, 1.8, bones.paint_vertebra)
    assert canvas.y[bright].max() > cut.spine_y + 40 * cut.size


def test_a_tilted_vertebra_ends_lower_in_front():
    def brighter_behind(lean):
        subject = plain_subject(bend=0.0, lordosis=0.0, uneven=0.0, lean=lean, discs=0.2)
        canvas, cut = paint(subject, 2.4, [bones.paint_vertebra], side=210)
        y, x = canvas.y - cut.spine_y, np.abs(canvas.x)
        front, behind = (canvas.hu[(x < 6) & (np.abs(y - mm) < 3)].mean() for mm in (-12, 12))
        return behind - front

    assert brighter_behind(-6.0) < -100 < brighter_behind(0.0) < 100 < brighter_behind(6.0)


def test_processes_are_as_high_as_the_person_has_them():
    def seen(up, **given):
        subject = plain_subject(bend=0.0, **STRAIGHT, **given)
        canvas, cut, bright = bone(subject, 2 + up, bones.paint_vertebra)
        beside = np.abs(canvas.x[bright]).max() > 30 * cut.size
        behind = canvas.y[bright].max() > cut.spine_y + 55 * cut.size
        return bool(beside), bool(behind)

    low, high = {'transverse': 0.2, 'spinous': 0.4}, {'transverse': 0.45, 'spinous': 0.8}
    assert seen(0.0, **low) == (False, False)
    assert seen(0.0, **high) == (True, False)
    assert seen(-0.45, **low) == seen(-0.45, **high) == (False, True)  # over the disc below
    assert seen(-0.67, **low) == (False, False)
    assert seen(-0.67, **high | {'transverse': 0.2}) == (False, True)  # behind the next vertebra


def test_discs_are_as_high_as_the_person_has_them():
    def shares(discs):
        subject = plain_subject(discs=discs, spongy_hu=200.0, **STRAIGHT)
        return np.mean(
            [middle_of_body(subject, 2 + up).mean() < 100 for up in np.arange(0, 1, 0.02)]
        )

    assert shares(0.18) == pytest.approx(0.18, abs=0.03)
    assert shares(0.3) == pytest.approx(0.3, abs=0.03)


def test_no_disc_shows_around_the_middle_of_a_body():
    subject = plain_subject(1, bend=0.0, **STRAIGHT)
    canvas, cut = paint(subject, 2.0, [bones.paint_vertebra], side=840)
    y, x = canvas.y - cut.spine_y, np.abs(canvas.x)
    disc = (np.abs(canvas.hu - DISC.hu) < 1) & (np.abs(y) < 5) & (x > 15 * cut.size)
    assert not disc.any()


def test_processes_are_as_thick_and_as_long_as_their_vertebra_has_them():
    def area(**given):
        canvas, cut, bright = bone(plain_subject(**STRAIGHT | given), 2.15, bones.paint_vertebra)
        return mm2(canvas, bright & (np.abs(canvas.x) > 26 * cut.size))

    thin, thick = area(process_width=0.5), area(process_width=1.0)
    assert thin < 0.7 * thick
    assert area(processes=0.8) < 0.8 * area(processes=1.2)
    uneven = [area(uneven=1.5, seed=seed) for seed in range(4)]
    assert np.std(uneven) > 0.03 * np.mean(uneven)


def test_nothing_but_facets_and_a_lamina_is_below_the_pedicles_of_l5():
    subject = plain_subject(bend=0.0, lordosis=1.4, lean=6.0, arches=0.15, uneven=0.0)
    for t, seen in ((0.1, True), (-0.5, False)):
        canvas, cut, bright = bone(subject, t, bones.paint_vertebra)
        behind = bright & (canvas.y > cut.spine_y + 18 * cut.size)
        assert behind.any() == seen
        assert np.abs(canvas.x[behind]).max(initial=0) < 32 * cut.size


def test_a_lamina_opens_to_the_front_and_hangs_down_backwards():
    subject = plain_subject(bend=0.0, spinous=0.4, **STRAIGHT)

    def edges(up):
        canvas, cut, bright = bone(subject, 2 + up, bones.paint_vertebra)
        behind = bright & (canvas.y > cut.spine_y + 24 * cut.size)
        at = [behind & (np.abs(np.abs(canvas.x) - x * cut.size) < 2) for x in (0, 12)]
        return [canvas.y[each].min() - cut.spine_y for each in at]

    middle, side = edges(-0.1)
    assert side < middle - 5
    assert edges(-0.65)[0] > middle + 5


def test_between_the_facets_of_two_vertebrae_is_a_joint():
    subject = plain_subject(bend=0.0, **STRAIGHT)
    canvas, cut = paint(subject, 2.3, [bones.paint_vertebra], side=840)
    joint = (np.abs(canvas.hu - SOFT.hu) < 5) & (np.abs(canvas.x) > 12 * cut.size)
    assert 5 < mm2(canvas, joint) < 60


def test_bodies_are_as_deep_as_the_person_has_them():
    def depth(bodies):
        subject = plain_subject(bend=0.0, bodies=bodies, **STRAIGHT)
        canvas, cut, bright = bone(subject, 2.0, bones.paint_vertebra)
        return cut.spine_y - canvas.y[bright].min()

    assert depth(1.15) / depth(0.92) == pytest.approx(1.25, rel=0.05)


def test_arches_are_where_the_person_has_them():
    reaches = [
        np.abs(canvas.x[bright]).max()
        for canvas, _, bright in (
            bone(plain_subject(arches=t, uneven=0.0), 2.3, bones.paint_vertebra)
            for t in (-0.15, 0.15)
        )
    ]
    assert reaches[0] < 0.8 * reaches[1]


def test_the_sacrum_replaces_the_vertebrae_below_l5():
    subject = plain_subject()
    canvas, cut, bright = bone(subject, -0.3, bones.paint_sacrum)
    assert canvas.y[bright].min() > cut.spine_y  # its alae and its canal, behind the disc
    across = np.abs(canvas.x[bright])
    assert across.max() > 40 * cut.size
    assert across.min() < 5 * cut.size
    assert bone(subject, -1.0, bones.paint_vertebra)[2].sum() == 0
    areas = [
        mm2(canvas, bright)
        for canvas, _, bright in (bone(subject, t, bones.paint_sacrum) for t in (-1, -2.5, -4))
    ]
    assert areas[0] > areas[1] > areas[2]


def test_ribs_are_in_the_wall_of_the_chest_and_not_of_the_pelvis():
    subject = plain_subject(bend=0.0)
    counts = []
    for t in (0.0, 3.0, 6.0):
        canvas, _, bright = bone(subject, t, bones.paint_ribs)
        assert (bright & (canvas.in_wall <= 0)).sum() <= 0.1 * bright.sum()
        counts.append(mm2(canvas, bright))
    assert counts[0] == 0 < counts[1] < counts[2]


def test_a_rib_is_cut_into_pieces_of_a_square_centimetre_and_more_of_them_at_the_top():
    # TotalSegmentator's ribs of a patient: 45 mm2 at L2, 550 at L1, 1030 at T12, 40 to 110 a piece
    subjects = [plain_subject(seed, bend=0.0, spongy_hu=290.0) for seed in range(3)]
    for t, least, most in ((2.5, 0, 0), (3.0, 0, 300), (4.0, 300, 900), (5.0, 500, 1300)):
        for subject in subjects:
            canvas, cut = paint(subject, t, [bones.paint_ribs], side=420)
            beside = (canvas.hu > 150) & (np.abs(canvas.x) > 60 * cut.size)
            _, pieces = scipy.ndimage.label(beside)
            assert least <= mm2(canvas, beside) <= most
            assert mm2(canvas, beside) <= 130 * pieces


def test_a_rib_is_a_thin_shell_around_spongy_bone():
    subject = plain_subject(bend=0.0, cortical_hu=800.0, spongy_hu=200.0)
    canvas, cut = paint(subject, 5.0, [bones.paint_ribs], side=840)
    beside = np.abs(canvas.x) > 60 * cut.size
    spongy, bone = ((np.abs(canvas.hu - 200) < 1) & beside), (canvas.hu > 150) & beside
    assert 0.3 < spongy.sum() / bone.sum() < 0.7


def test_a_rib_ends_in_cartilage_in_front():
    subject = plain_subject(bend=0.0, cortical_hu=800.0, cartilage_hu=100.0)
    canvas, _ = paint(subject, 4.0, [bones.paint_ribs], side=420)
    bone, cartilage = canvas.hu > 150, (canvas.hu > 60) & (canvas.hu < 110)
    assert mm2(canvas, cartilage) > 200
    assert canvas.y[cartilage].mean() < canvas.y[bone].min()


def test_ribs_reach_lower_in_some():
    high, low = (
        mm2(canvas, bright)
        for canvas, _, bright in (
            bone(plain_subject(rib_fall=fall), 3.5, bones.paint_ribs) for fall in (0.93, 1.07)
        )
    )
    assert high < low


def test_the_twelfth_rib_is_as_long_as_the_person_has_it():
    lengths = [
        sum(
            mm2(canvas, bright)
            for canvas, _, bright in (
                bone(plain_subject(last_rib=share), t, bones.paint_ribs) for t in (3.8, 4.2, 4.6)
            )
        )
        for share in (0.0, 0.5)
    ]
    assert lengths[0] < lengths[1]


def test_a_rib_of_l1_is_in_those_who_have_one():
    def beside(share):
        canvas, cut, bright = bone(plain_subject(lumbar_rib=share), 4.1, bones.paint_ribs)
        return mm2(canvas, bright & (np.abs(canvas.x) < 60 * cut.size))

    assert beside(0.0) == 0
    assert beside(0.4) > 40


@pytest.mark.parametrize('more', [-1.0, 0.0, 1.0])
def test_there_are_four_five_or_six_bodies_between_the_sacrum_and_t12(more):
    subject = plain_subject(spongy_hu=200.0, lumbar=more, discs=0.3, **STRAIGHT)
    z = np.arange(subject.z(-0.5), subject.levels['T12'], 1.0)
    is_bone = [middle_of_body(subject, subject.t(mm)).mean() > 140 for mm in z]
    assert np.diff(is_bone, prepend=False).sum() == 2 * (5 + more) + 1  # and the one of T12


def test_the_transverse_processes_of_l5_join_the_sacrum_in_some():
    def joining(share):
        subject = plain_subject(bend=0.0, sacralisation=share, spongy_hu=200.0)
        _, _, process = bone(subject, -0.05, bones.paint_vertebra)
        canvas, cut, sacrum = bone(subject, -0.05, bones.paint_sacrum)
        beside = np.abs(canvas.x) > 25 * cut.size
        return mm2(canvas, process & beside & scipy.ndimage.binary_dilation(sacrum, iterations=3))

    assert joining(0.0) == 0
    assert joining(1.0) > 100


def test_arches_and_processes_are_cortical_around_spongy_bone():
    subject = plain_subject(bend=0.0, cortical_hu=800.0, spongy_hu=200.0, **STRAIGHT)
    for t, where in ((2.15, (30, 40)), (1.55, (0, 10))):  # transverse and spinous processes
        canvas, cut = paint(subject, t, [bones.paint_vertebra], side=840)
        near = (np.abs(canvas.x) > where[0] * cut.size) & (np.abs(canvas.x) < where[1] * cut.size)
        near &= canvas.y > cut.spine_y + 12 * cut.size
        spongy, whole = (np.abs(canvas.hu - 200) < 1) & near, (canvas.hu > 150) & near
        assert 0.2 < spongy.sum() / whole.sum() < 0.8


def test_osteophytes_are_beside_and_in_front_of_discs():
    smooth, spurs = (paint(plain_subject(osteophytes=mm), 2.4, side=280)[0] for mm in (0.0, 8.0))
    grown = spurs.hu - smooth.hu > 150
    assert mm2(spurs, grown) > 30
    cut = paint(plain_subject(), 2.4, [])[1]
    assert spurs.y[grown].max() < cut.spine_y + 15
    middle = [paint(plain_subject(osteophytes=mm), 2.0)[0].hu for mm in (0.0, 8.0)]
    np.testing.assert_array_equal(*middle)


def test_screws_are_metal_in_two_neighbouring_vertebrae():
    subject = plain_subject(screws=1.0, **STRAIGHT)
    metal = [
        level
        for level in range(9)
        if (paint(subject, level + 0.1, [bones.paint_screws])[0].hu == METAL.hu).any()
    ]
    assert metal == [subject.screw_level, subject.screw_level + 1]
    tilted = plain_subject(screws=1.0, lean=6.0, lordosis=1.4, uneven=0.0)
    for t in np.arange(subject.screw_level - 0.5, subject.screw_level + 1.5, 0.05):
        screws, cut = paint(tilted, t, [bones.paint_screws], side=280)
        if (screws.hu == METAL.hu).any():
            beside = (screws.hu == METAL.hu) & (np.abs(screws.y - cut.spine_y - 20) < 8)
            pedicles = paint(tilted, t, [bones.paint_vertebra], side=280)[0].hu > 150
            assert pedicles[beside].mean() > 0.7
    for t in np.arange(-5, -0.5, 0.1):
        assert (paint(tilted, t, [bones.paint_screws])[0].hu < 0).all()
    assert (paint(plain_subject(), subject.screw_level + 0.1, [bones.paint_screws])[0].hu < 0).all()
