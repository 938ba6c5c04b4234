import math

import pytest

from bodycomp_jax.data.scans.grid import Grid
from bodycomp_jax.data.scans.grouping import grouped
from bodycomp_jax.data.scans.headers import Header


def header(path, z, **changes):
    """The header of a slice; `tilt` is in degrees."""
    tilt = math.radians(changes.pop('tilt', 0))
    grid = Grid(
        rows=changes.pop('rows', 6),
        columns=8,
        spacing=(0.75, 0.5),
        position=(changes.pop('x', -10.0), -20.0, z),
        row_direction=(1.0, 0.0, 0.0),
        column_direction=(0.0, math.cos(tilt), -math.sin(tilt)),
    )
    defaults = {
        'frame': 0,
        'sop_instance_uid': f'1.{path}',
        'series_uid': '1.2',
        'common': ('P1', '1.3', '1.4'),
        'acquisition': '1',
        'time': '',
        'instance': path,
        'slope': 1.0,
        'intercept': -1024.0,
        'doubt': '',
    }
    return Header(path=path, grid=grid, **defaults | changes)


def paths(headers):
    """The paths of the slices of each series, as texts, and of what is skipped."""
    series, skipped = grouped(headers)
    return (
        [''.join(each.path for each in found.slices) for found in series],
        ''.join(each.path for each in skipped),
    )


def test_slices_are_sorted_along_the_normal_whatever_their_names_and_numbers():
    headers = [header('a', 7.5), header('b', -3), header('c', 60)]
    assert paths(headers) == (['bac'], '')
    (series,), _ = grouped(headers)
    assert series.z.tolist() == [-3, 7.5, 60]
    assert series.distances.tolist() == [10.5, 52.5]


def test_tilted_slices_are_sorted_and_measured_along_their_normal():
    (series,), _ = grouped([header(name, z, tilt=14) for name, z in (('a', 10), ('b', 0))])
    assert [each.path for each in series.slices] == ['b', 'a']
    assert series.tilt_degrees == pytest.approx(14)
    assert series.distances == pytest.approx([10 * math.cos(math.radians(14))])
    assert series.z == pytest.approx([z - 2.5 * 0.75 * math.sin(math.radians(14)) for z in (0, 10)])


@pytest.mark.parametrize(
    'changes',
    [
        {'series_uid': '1.9'},
        {'common': ('P2', '1.3', '1.4')},
        {'common': ('P1', '1.9', '1.4')},
        {'common': ('P1', '1.3', '1.9')},
        {'rows': 7},
        {'tilt': 3},
    ],
)
def test_slices_of_another_series_size_frame_or_orientation_are_another_series(changes):
    headers = [header('a', 0), header('b', 5, **changes), header('c', 10)]
    assert paths(headers) == (['ac', 'b'], '')


def test_rounded_directions_do_not_part_a_series():
    assert paths([header('a', 0, tilt=14), header('b', 5, tilt=14.01)]) == (['ab'], '')


def series_of(positions, **columns):
    """Headers a, b, c, ... at these positions, with a letter of each column."""
    return [
        header('abcdefgh'[i], z, **{name: values[i] for name, values in columns.items()})
        for i, z in enumerate(positions)
    ]


def test_acquisitions_are_parts_only_where_positions_repeat():
    one_after_another = series_of((0, 5, 10), acquisition='112')
    assert paths(one_after_another) == (['abc'], '')
    phases = series_of((0, 5, 0, 5), acquisition='1122')
    assert paths(phases) == (['ab', 'cd'], '')
    overlapping = series_of((0, 5, 5, 10, 15), acquisition='11222')
    assert paths(overlapping) == (['ab', 'cde'], '')


def test_a_position_that_is_watched_gives_single_slices():
    watched = series_of((61.5, 61.5, 61.5), acquisition='321')
    assert paths(watched) == (['a', 'b', 'c'], '')


def test_times_part_what_acquisitions_do_not():
    assert paths(series_of((0, 5, 0, 5), time='1243')) == (['ab', 'cd'], '')
    assert paths(series_of((0, 5, 0, 5), time='4132')) == (['cb', 'ad'], '')


def test_an_acquisition_for_each_slice_is_not_a_part():
    assert paths(series_of((0, 5, 0, 5), acquisition='1234', time='1234')) == (['ab', 'cd'], '')
    assert paths(series_of((0, 5, 0, 5), acquisition='1324', time='1324')) == (['ab', 'cd'], '')


def test_phases_beside_each_other_are_parts():
    shifted = series_of((0, 5, 10, 0.3, 5.3, 10.3), acquisition='111222')
    assert paths(shifted) == (['abc', 'def'], '')


def test_rotations_of_several_slices_are_parts_only_where_the_scan_begins_again():
    positions = (0, 5, 10, 15)
    assert paths(series_of(positions, acquisition='1122')) == (['abcd'], '')
    of_one_and_two = series_of((0, 5, 20, 25, 10, 15, 30), acquisition='1122334')
    assert paths(of_one_and_two) == (['abefcdg'], '')
    now_and_then_one = series_of((0, 5, 10, 15, 20, 25), acquisition='112334')
    assert paths(now_and_then_one) == (['abcdef'], '')
    twice = series_of(positions * 2, acquisition='11223344')
    assert paths(twice) == (['abcd', 'efgh'], '')


def test_a_position_that_is_watched_does_not_part_the_scan():
    watched = series_of((50, 50, 50, 0, 50, 100), acquisition='111222')
    assert paths(watched) == (['a', 'b', 'c', 'def'], '')
    below_the_scan = series_of((-50, -50, 0, 50, 100), acquisition='11222')
    assert paths(below_the_scan) == (['a', 'b', 'cde'], '')
    after_the_scan = series_of((0, 50, 100, -50, -50), acquisition='11122')
    assert paths(after_the_scan) == (['abc', 'd', 'e'], '')
    in_one_acquisition = series_of((50, 50, 100, 50, 0))
    assert paths(in_one_acquisition) == (['a', 'b', 'edc'], '')


def test_phases_of_different_extent_are_parted_where_the_scan_begins_again():
    assert paths(series_of((0, 5, 10, 5, 10, 15))) == (['abc', 'def'], '')
    assert paths(series_of((15, 10, 5, 10, 5, 0))) == (['cba', 'fed'], '')
    times = series_of((5, 0, 10, 10, 5, 15), time='111222', instance=' ' * 6)
    assert paths(times) == (['bac', 'edf'], '')


def test_phases_that_nothing_tells_apart_are_refused():
    there_and_back = series_of((0, 5, 10, 15, 10, 5))
    found, skipped = grouped(there_and_back)
    assert found == []
    assert [each.path for each in skipped] == ['a']
    assert '1 to 2 slices at a position, and neither Acquisition' in skipped[0].reason


def test_instance_numbers_are_compared_as_numbers():
    headers = [header('a', 0, instance='10'), header('b', 0, instance='9')]
    assert paths(headers) == (['b', 'a'], '')


def test_copies_of_a_slice_are_skipped():
    copy = {'sop_instance_uid': '1.a', 'instance': 'a'}
    headers = [header('b', 0, **copy), header('a', 0), header('c', 5)]
    assert paths(headers) == (['ac'], 'b')
    assert str(grouped(headers)[1][0]) == 'b: the same slice as a'


def test_phases_that_are_numbered_alike_are_no_copies():
    headers = [
        header(name, z, acquisition='', time='', instance=str(z))
        for name, z in (('a', 0), ('b', 5), ('c', 0), ('d', 5))
    ]
    found, skipped = grouped(headers)
    assert len(found) == 2
    assert skipped == []


def test_copies_without_a_uid_are_skipped():
    without = {'sop_instance_uid': '', 'instance': '7'}
    assert paths([header('a', 0, **without), header('b', 0, **without)]) == (['a'], 'b')


def test_slices_of_one_acquisition_without_a_number_are_not_copies():
    for uids in (('1.1', '1.2'), ('', '')):
        headers = [
            header(path, 0, instance='', sop_instance_uid=uid)
            for path, uid in zip('ab', uids, strict=True)
        ]
        assert paths(headers) == (['a', 'b'], '')


def test_a_uid_that_all_slices_share_does_not_make_them_copies():
    headers = [header(p, z, sop_instance_uid='1.2') for p, z in (('a', 0), ('b', 5))]
    assert paths(headers) == (['ab'], '')


def test_slices_with_nothing_but_a_uid_are_not_copies():
    nothing = {'acquisition': '', 'instance': ''}
    assert paths([header('a', 0, **nothing), header('b', 0, **nothing)]) == (['a', 'b'], '')


def test_a_series_without_a_uid_has_a_name_from_its_place_in_the_patient():
    def name(**changes):
        (series,), _ = grouped([header('a', 0, series_uid='', **changes)])
        return series.name

    assert name() == name(common=('P1', '1.3', '1.4', 'another folder'))
    assert name() != name(x=-11.0)
    assert name().startswith('series-')
    assert 'P1' not in name()
