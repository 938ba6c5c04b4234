"""Which slices are measured."""

import fake_scans
import numpy as np
import pytest
from fake_networks import FakeSelector

from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.places import at_levels, every_slice, labelled_slices

Z = np.arange(-100, 101, 5)


def places(z=Z, levels=('L3',), given=None, **positions):
    selector = FakeSelector(positions) if positions else None
    return at_levels(fake_scans.series(z), selector, levels, given or {})


def test_the_nearest_slice_shows_a_level():
    found = places(levels=('T12', 'L3'), L3=12.0, T12=80.0)
    assert found.slices == [('T12', 36), ('L3', 22)]
    assert found.curves['L3'].position.z == pytest.approx(12, abs=0.2)
    assert not found.missing


@pytest.mark.parametrize(('at', 'where'), [(-170.0, 'below'), (150.0, 'above')])
def test_a_level_outside_the_scan_has_no_slice(at, where):
    found = places(L3=at)
    assert found.slices == []
    status, reason = found.missing['L3']
    assert status == 'level_outside_scan'
    assert f'it lies {where} the scan' in reason


def test_a_curve_that_is_not_that_of_a_level_has_no_slice():
    class Falling(FakeSelector):
        def __call__(self, slices, *, check_values=True):
            return -super().__call__(slices)

    series = fake_scans.series(Z)
    for selector in (Falling(), FakeSelector({'L3': np.nan})):
        found = at_levels(series, selector, ['L3'], {})
        assert found.slices == []
        assert found.missing['L3'].status == 'level_not_found'
    assert 'confidence 0.00, at least 0.5 is needed' in found.missing['L3'].reason


def test_a_level_in_a_gap_has_no_slice():
    found = places(z=np.array([-80, -70, -60, -50, 60, 70, 80]), L3=5.0)
    assert found.missing['L3'].status == 'level_in_gap'
    assert 'more than 10 mm away' in found.missing['L3'].reason


def test_a_level_of_which_nothing_says_where_it_is_has_no_slice():
    found = places(levels=('L3', 'L1', 'T12'), given={'L1': 10.0}, L3=0.0)
    assert found.slices == [('L3', 20), ('L1', 22)]
    assert found.missing['T12'].status == 'no_level'
    assert places(given={'T12': 10.0}).missing['L3'].status == 'no_level'


def test_a_network_needs_some_slices():
    found = places(z=Z[:4], L3=-95.0)
    assert found.missing['L3'].status == 'too_few_slices'


def test_positions_overrule_the_network_and_need_no_other_slices():
    found = places(given={'L3': 31.0}, L3=0.0)
    assert found.slices == [('L3', 26)]
    assert not found.curves
    assert places(z=Z[:1], given={'L3': -96.0}).slices == [('L3', 0)]


@pytest.mark.parametrize(
    ('z', 'status'), [(-111.0, 'level_outside_scan'), (-109.0, None), (120.0, 'level_outside_scan')]
)
def test_positions_must_be_near_a_slice(z, status):
    missing = places(given={'L3': z}).missing
    assert (missing['L3'].status if missing else None) == status


@pytest.mark.parametrize(
    ('mm', 'others'), [(0, []), (9, []), (10, [19, 21]), (25, [18, 19, 21, 22])]
)
def test_a_slab_has_the_slices_around_a_level(mm, others):
    found = at_levels(fake_scans.series(Z), None, ['L3'], {'L3': 0.0}, slab_mm=mm)
    assert found.slices == [('L3', 20)]
    assert list(found.slab) == [('L3', i) for i in others]


def test_slices_are_measured_as_they_are():
    assert every_slice(fake_scans.series(Z[:3])).slices == [('slice', i) for i in range(3)]


class Mask:
    def __init__(self, labelled):
        self.labelled = labelled

    def labels(self, i):
        return np.full((8, 8), 0 if i in self.labelled else 255, np.uint8)


def test_labelled_slices_are_those_of_a_mask():
    assert labelled_slices(fake_scans.series(Z), Mask([3, 5])).slices == [
        ('slice', 3),
        ('slice', 5),
    ]
    with pytest.raises(InputError, match='labels none of its 41 slices'):
        labelled_slices(fake_scans.series(Z), Mask([]))
