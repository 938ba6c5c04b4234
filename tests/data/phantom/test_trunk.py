"""Whole trunks and single slices: HU, labels and levels agree with anatomy and each other."""

import warnings

import numpy as np
import pytest
import scipy.ndimage
from phantoms import plain_subject

from bodycomp_jax.data import phantom
from bodycomp_jax.data.phantom import trunk
from bodycomp_jax.data.phantom.subject import Subject
from bodycomp_jax.data.phantom.tissue import (
    MUSCLE_LABEL,
    SUBCUTANEOUS_LABEL,
    VISCERAL_LABEL,
    Tissues,
)
from bodycomp_jax.data.phantom.variety import plain_person

SIDE = 64
SLICE_SIDE = 256
SPACING = 4.0
SEEDS = 3, 5  # of trunks whose single slices are far apart
LABELS = [MUSCLE_LABEL, SUBCUTANEOUS_LABEL, VISCERAL_LABEL]


@pytest.fixture(scope='module')
def slices():
    return [phantom.draw_slice(seed, SLICE_SIDE) for seed in range(12)]


@pytest.fixture(scope='module')
def trunks():
    return [phantom.draw(seed, SIDE, SPACING) for seed in SEEDS]


def index_of(series, z):
    return np.abs(series.z - z).argmin()


def with_scanner(draw_scanner):
    return phantom.Variety(plain_person, draw_scanner)


def scanner_with(**fields):
    return with_scanner(lambda rng, body: phantom.Scanner(**fields))


def check_tissues(image, mask):
    """HU of each tissue, and its place: subcutaneous fat surrounds the others."""
    muscle, subcutaneous, visceral = (image[mask == label] for label in LABELS)
    assert 30 < np.median(muscle) < 80
    assert -122 < np.median(subcutaneous) < -60
    assert -122 < np.median(visceral) < -60
    assert image.min() < -950
    assert image.max() > 200
    assert (mask[image < -500] == 0).mean() > 0.99
    ring = np.argwhere(mask == SUBCUTANEOUS_LABEL)
    inside = np.argwhere((mask == MUSCLE_LABEL) | (mask == VISCERAL_LABEL))
    assert (ring.min(0) < inside.min(0)).all()
    assert (ring.max(0) > inside.max(0)).all()


@pytest.mark.parametrize('variety', [phantom.PLAIN, phantom.WIDE])
def test_a_seed_draws_one_slice(variety):
    one, same, other = (phantom.draw_slice(seed, 64, variety) for seed in (3, 3, 4))
    for first, second, third in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(first, second)
        assert (first != third).any()


def test_a_seed_draws_one_trunk():
    one, same, other = (phantom.draw(seed, SIDE, 60) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.hu, same.hu)
    np.testing.assert_array_equal(one.labels, same.labels)
    assert one.levels == same.levels
    assert one.levels != other.levels
    assert (one.hu[0] != other.hu[0]).any()
    assert (one.labels[0] != other.labels[0]).any()


def test_heights_are_those_of_the_trunk():
    z, levels = phantom.heights(3, 60, phantom.WIDE)
    series = phantom.draw(3, 32, 60, phantom.WIDE)
    np.testing.assert_array_equal(z, series.z)
    assert levels == series.levels


def test_types_and_shapes_of_slices_are_those_of_a_training_set(slices):
    for image, mask in slices:
        assert (image.shape, image.dtype) == ((SLICE_SIDE, SLICE_SIDE), np.int16)
        assert (mask.shape, mask.dtype) == ((SLICE_SIDE, SLICE_SIDE), np.uint8)
        assert set(np.unique(mask)) == {0, 1, 2, 3}


def test_tissues_of_slices_have_the_hu_and_the_place_of_real_ones(slices):
    for image, mask in slices:
        check_tissues(image, mask)


def test_tissues_of_trunks_have_the_hu_and_the_place_of_real_ones_at_every_lumbar_level():
    for seed in range(2):
        series = phantom.draw(seed, 128, 30)
        for level in ('L5', 'L4', 'L3', 'L2', 'L1'):
            i = index_of(series, series.levels[level])
            check_tissues(series.hu[i], series.labels[i])


def test_labels_hold_the_hu_of_their_tissue(slices):
    for seed, (image, mask) in enumerate(slices):
        tissues = Tissues.of(plain_person(np.random.default_rng(seed)))
        for tissue in (tissues.muscle, tissues.subcutaneous_fat, tissues.visceral_fat):
            assert (np.abs(image[mask == tissue.label] - tissue.hu) < 80).mean() > 0.7


def test_every_tissue_has_a_plausible_share_of_the_body(slices):
    for image, mask in slices:
        body = (image > -300).sum()
        for label, least, most in ((1, 0.07, 0.5), (2, 0.08, 0.6), (3, 0.01, 0.5)):
            assert least < (mask == label).sum() / body < most


def test_subjects_differ_in_size_and_in_every_tissue(slices):
    areas = [(mask > 0).sum() for _, mask in slices]
    assert max(areas) > 1.5 * min(areas)
    for label in LABELS:
        areas = [(mask == label).sum() for _, mask in slices]
        assert max(areas) > 1.5 * min(areas)


@pytest.mark.parametrize('first', range(0, 40, 10))
def test_every_wide_subject_is_painted_at_every_height_without_a_warning(first):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for seed in range(first, first + 10):
            rng = np.random.default_rng(seed)
            subject = Subject(rng, phantom.WIDE.draw_person(rng))
            for t in (-5, -3, -1, 0, 2, 4, 5.5, 7, 9):
                canvas = trunk._paint(subject, phantom.Scanner(), subject.z(t), SIDE)
                assert np.isfinite(canvas.hu).all()
                assert -1100 < canvas.hu.min() < canvas.hu.max() < 3100
                if t == 2:
                    assert set(np.unique(canvas.labels)) == {0, 1, 2, 3}


def test_a_slice_is_one_of_the_slices_of_its_subject(trunks):
    heights = []
    for seed, series in zip(SEEDS, trunks, strict=True):
        image, mask = phantom.draw_slice(seed, SIDE)
        differing = (series.labels != mask).mean((1, 2))
        nearest = differing.argmin()
        assert differing[nearest] < 0.03
        assert np.median(np.abs(series.hu[nearest].astype(int) - image)) < 40  # noise of both
        z = series.z[nearest]
        assert z <= series.levels['T9'] + SPACING / 2
        heights.append(z - series.levels['L3'])
    assert np.ptp(heights) > 5


def test_slices_go_from_the_pelvis_to_the_lungs(trunks):
    for series in trunks:
        assert (series.hu.shape, series.hu.dtype) == ((len(series.z), SIDE, SIDE), np.int16)
        assert (series.labels.shape, series.labels.dtype) == (series.hu.shape, np.uint8)
        np.testing.assert_allclose(np.diff(series.z), SPACING)
        assert 130 < series.levels['L5'] - series.z[0] < 170
        assert series.levels['T9'] - SPACING <= series.z[-1]


def test_levels_follow_each_other_at_the_height_of_a_vertebra(trunks):
    for series in trunks:
        assert tuple(series.levels) == phantom.LEVELS
        heights = np.diff(list(series.levels.values()))
        assert (heights > 22).all() and (heights < 42).all()
        assert heights[:3].mean() > heights[-3:].mean()


@pytest.mark.parametrize('variety', [phantom.PLAIN, phantom.WIDE])
def test_the_spacing_changes_which_slices_are_cut_and_nothing_else(variety):
    for seed in (0, 1):
        fine, coarse = (phantom.draw(seed, SIDE, spacing, variety) for spacing in (50, 100))
        assert fine.levels == coarse.levels
        np.testing.assert_array_equal(fine.z[::2], coarse.z)
        np.testing.assert_array_equal(fine.hu[::2], coarse.hu)
        np.testing.assert_array_equal(fine.labels[::2], coarse.labels)


def test_noise_differs_from_slice_to_slice():
    air = phantom.draw(0, 512, 200).hu[:, :16, :16].astype(int)
    assert (air[1:] != air[:-1]).mean() > 0.8


def test_the_number_of_pixels_changes_the_areas_little():
    areas = []
    for side in (64, 256):
        series = phantom.draw(1, side, 200)
        areas.append([series.pixel_mm**2 * (series.labels[1] == x).sum() for x in LABELS])
    np.testing.assert_allclose(*areas, rtol=0.12)


def test_lungs_are_above_and_the_pelvis_below(trunks):
    for series in trunks:

        def gas(z, series=series):
            inside = series.hu[index_of(series, z)][:, 12:-12]
            return ((inside > -950) & (inside < -700)).sum()

        assert gas(series.levels['T9']) > 1.2 * gas(series.levels['L2'])
        lateral = np.r_[0 : SIDE // 2 - 8, SIDE // 2 + 8 : SIDE]
        pelvis, waist = (
            (series.hu[index_of(series, z)][:, lateral] > 200).sum()
            for z in (series.levels['L5'] - 60, series.levels['L3'])
        )
        assert pelvis > waist + 10


def test_the_scanner_of_a_subject_is_the_same_at_every_side():
    seen = []

    def draw_scanner(rng, body):
        seen.append(phantom.WIDE.draw_scanner(rng, body))
        return seen[-1]

    variety = with_scanner(draw_scanner)
    trunks = [phantom.draw(5, side, 200, variety) for side in (32, 64)]
    phantom.draw_slice(5, 32, variety)
    phantom.draw(6, 32, 200, variety)
    assert seen[0] == seen[1] == seen[2] != seen[3]
    assert trunks[0].pixel_mm == 2 * trunks[1].pixel_mm == seen[0].field_of_view / 32


def test_the_scanner_is_told_where_the_body_is():
    boxes = []

    def draw_scanner(rng, body):
        boxes.append(body)
        return phantom.Scanner(noise=0)

    series = phantom.draw(2, 128, 30, with_scanner(draw_scanner))
    axis = (np.arange(128) + 0.5) * series.pixel_mm - phantom.Scanner().field_of_view / 2
    lumbar = (series.z > series.levels['L5']) & (series.z < series.levels['L1'])
    y, x = (axis[i] for i in np.nonzero(series.labels[lumbar].any(0)))
    (box,) = boxes
    labelled = x.min(), y.min(), x.max(), y.max()
    np.testing.assert_allclose(labelled, box, atol=15)


def test_a_field_of_view_shows_a_part_of_a_larger_one():
    small, large = (
        phantom.draw_slice(2, side, scanner_with(field_of_view=mm, middle=(10, -5), noise=0))
        for side, mm in ((64, 192.0), (96, 288.0))
    )
    inner = slice(16, -16)
    np.testing.assert_array_equal(small[1], large[1][inner, inner])
    core = slice(4, -4)  # the kernel joins opposite borders
    np.testing.assert_allclose(small[0][core, core], large[0][inner, inner][core, core], atol=3)


@pytest.mark.parametrize('side', [128, 320])  # the thirds as fine as the middle, and coarser
def test_a_thick_slice_has_the_labels_of_its_middle_and_the_mean_of_its_thirds(side):
    def scan(thickness, up=0.0):
        scanner = phantom.Scanner(noise=0, thickness=thickness)
        return trunk._scan(subject, scanner, z + up, side)

    subject = plain_subject(0, diaphragm=0.3, lordosis=0.0, lean=0.0, uneven=0.0)
    z = subject.z(4.6)  # a disc, and ribs that fall
    (thick, labels), *thirds = scan(8), scan(1, -8 / 3), scan(1), scan(1, 8 / 3)
    np.testing.assert_array_equal(labels, thirds[1][1])
    mean = np.mean([hu for hu, _ in thirds], axis=0)
    wrong, differing = (np.abs(image - mean).mean() for image in (thick, thirds[1][0]))
    assert wrong < (0.05 if side == 128 else 0.5) * differing


def test_there_is_neither_image_nor_label_outside_the_circle():
    plain, padded = (
        phantom.draw_slice(0, 64, scanner_with(field_of_view=240.0, padding=hu))
        for hu in (0, -2000.0)
    )
    outside = padded[0] == -2000
    assert 0.15 < outside.mean() < 0.25
    assert plain[1][outside].any()
    assert not padded[1][outside].any()
    np.testing.assert_array_equal(plain[1][~outside], padded[1][~outside])


def test_a_coarse_matrix_is_made_finer_by_lines_between_its_pixels():
    fine = phantom.draw_slice(1, 128, scanner_with(matrix=64.0))
    coarse = phantom.draw_slice(1, 64)
    between = scipy.ndimage.zoom(
        coarse[0].astype(float), 2, order=1, grid_mode=True, mode='nearest'
    )
    np.testing.assert_allclose(fine[0], between, atol=1.1)  # both are rounded
    np.testing.assert_array_equal(fine[1], coarse[1].repeat(2, 0).repeat(2, 1))
    finer_than_wanted = phantom.draw_slice(1, 64, scanner_with(matrix=200.0))
    np.testing.assert_array_equal(coarse[0], finer_than_wanted[0])
