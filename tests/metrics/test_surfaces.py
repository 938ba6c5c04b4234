"""Outlines and their distances, against brute force and shapes whose distances are known."""

import numpy as np
import pytest
import scipy.ndimage
from scipy.spatial.distance import cdist

from bodycomp_jax.metrics.surfaces import compare, outline


def square(top, left, side=10, size=40):
    region = np.zeros((size, size), bool)
    region[top : top + side, left : left + side] = True
    return region


def blobs(seed):
    """Two similar regions of irregular form, and the spacing of their pixels."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(2, 50, 60))
    noise[1] = noise[0] + 0.3 * noise[1]
    smooth = [scipy.ndimage.gaussian_filter(each, 2.5) for each in noise]
    return [each > 0.02 for each in smooth], tuple(random.uniform(0.5, 1.5, 2))


def by_brute_force(first, second, spacing):
    """The same numbers from all pairs of points, with lengths counted corner by corner."""

    def points(region):
        found, lengths = [], []
        padded = np.pad(region, 1)
        diagonal = np.hypot(*spacing) / 2
        for r in range(padded.shape[0] - 1):
            for c in range(padded.shape[1] - 1):
                (a, b), (d, e) = padded[r : r + 2, c : c + 2].tolist()
                if len({a, b, d, e}) == 2:
                    found.append((r * spacing[0], c * spacing[1]))
                    if a == b and d == e:
                        lengths.append(spacing[1])
                    elif a == d and b == e:
                        lengths.append(spacing[0])
                    else:
                        lengths.append(diagonal * (2 if a == e and b == d else 1))
        return np.array(found), np.array(lengths)

    (p, of_p), (q, of_q) = points(first), points(second)
    distances = cdist(p, q)
    nearest = [(distances.min(1), of_p), (distances.min(0), of_q)]
    total = of_p.sum() + of_q.sum()
    dice = [sum(mm[d <= t].sum() for d, mm in nearest) / total for t in (1, 2)]

    def quantile(d, mm):
        return min(x for x in d if mm[d <= x].sum() >= 0.95 * mm.sum())

    return [*dice, max(quantile(*each) for each in nearest)]


@pytest.mark.parametrize('seed', range(4))
def test_all_pairs_of_points_give_the_same(seed):
    (first, second), spacing = blobs(seed)
    found = compare(outline(first, spacing), outline(second, spacing))
    assert found == pytest.approx(
        dict(zip(found, by_brute_force(first, second, spacing), strict=True)), rel=1e-9
    )
    swapped = compare(outline(second, spacing), outline(first, spacing))
    assert swapped == pytest.approx(found)


def test_a_region_agrees_with_itself():
    (region, _), spacing = blobs(0)
    same = outline(region, spacing)
    assert compare(same, same) == {'surface_dice_1': 1, 'surface_dice_2': 1, 'hd95': 0}


@pytest.mark.parametrize('shift', [1, 3])
def test_a_shift_is_the_distance_of_two_sides(shift):
    spacing = (0.7, 1.1)
    found = compare(outline(square(5, 5), spacing), outline(square(5, 5 + shift), spacing))
    assert found['hd95'] == pytest.approx(shift * 1.1)


def test_a_distance_that_is_the_tolerance_is_within_it():
    for spacing in (0.1, 0.2, 0.25, 1.0):
        first = outline(square(5, 5), (spacing, spacing))
        second = outline(square(5 + round(1 / spacing), 5), (spacing, spacing))
        assert compare(first, second)['surface_dice_1'] == 1


def test_the_edge_of_the_slice_is_an_outline():
    region = outline(np.ones((4, 6), bool), (1.0, 1.0))
    assert len(region.points) == 2 * (4 + 6)
    assert region.lengths.sum() == pytest.approx(2 * (3 + 5) + 4 * np.sqrt(0.5))


def test_nothing_agrees_with_nothing_in_no_way():
    some, nothing = outline(square(5, 5), (1.0, 1.0)), outline(square(0, 0, 0), (1.0, 1.0))
    for pair in ((some, nothing), (nothing, some)):
        found = compare(*pair)
        assert found['surface_dice_1'] == found['surface_dice_2'] == 0
        assert np.isnan(found['hd95'])
    assert all(np.isnan(value) for value in compare(nothing, nothing).values())
