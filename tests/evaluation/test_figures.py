"""The figures of the page."""

import xml.etree.ElementTree

import numpy as np

from bodycomp_jax.data.table import Column
from bodycomp_jax.evaluation.figures import bland_altman, cumulative, heights, scatter
from bodycomp_jax.evaluation.study import Examples, Metric, Pair
from bodycomp_jax.evaluation.summary import agreement

ERROR = Metric('error', 'L3', 'position error', 'mm', False, 2)
AREA = Pair('area', 'known', 'muscle', 'area', 'cm2', True)


def examples(**columns):
    """Numbers `[N, M]` by column."""
    numbers = np.stack([np.array(each, float) for each in columns.values()], axis=-1)
    about = [{} for _ in numbers]
    units = [str(i) for i in range(len(numbers))]
    return Examples(about, units, 'slice', {name: Column('', '') for name in columns}, numbers)


def elements(figure, tag):
    root = xml.etree.ElementTree.fromstring(figure.svg)
    return list(root.iter(f'{{http://www.w3.org/2000/svg}}{tag}'))


def test_bland_altman_figures_share_their_axes():
    known = np.arange(10.0)[:, None].repeat(3, 1) + 50
    area = known + np.array([1, 5, np.nan])
    units = examples(area=area, known=known)
    agreements = [agreement(units, AREA, m, 0) for m in range(3)]
    figures = list(bland_altman(units, AREA, agreements, ['one', 'five', 'nothing']))
    assert len(figures) == 2
    (one, five) = ([float(c.get('cy')) for c in elements(f, 'circle')] for f in figures)
    assert len(one) == len(five) == 10
    assert min(one) > max(five)  # 5 is drawn above 1
    assert 'bias +5.00' in [each.text for each in elements(figures[1], 'text')]


def test_scatter_has_a_colour_for_each_candidate():
    found = examples(error=[[1, 2], [3, np.nan], [5, 6]])
    x = np.array([10.0, 20, 30])
    figure = scatter(found, ERROR, 'area', x, ['A', 'B'], label='area, cm2')
    assert len(elements(figure, 'circle')) == 5
    assert {'A', 'B', 'area, cm2'} <= {each.text for each in elements(figure, 'text')}


def test_what_does_not_vary_is_not_drawn():
    found = examples(error=[[1], [3]])
    for x in ([10, 10], [np.nan, np.nan], [np.nan, 5]):
        assert scatter(found, ERROR, 'area', np.array(x, float), ['A'], label='') is None
    unknown = examples(error=[[np.nan], [np.nan]])
    assert scatter(unknown, ERROR, 'area', np.array([1.0, 2]), ['A'], label='') is None
    assert cumulative(unknown, ERROR, ['A']) is None


def test_cumulative_shares():
    figure = cumulative(examples(error=[[4, 1], [2, np.nan]]), ERROR, ['A', 'B'])
    first, second = elements(figure, 'polyline')
    corners = [tuple(map(float, each.split(','))) for each in first.get('points').split()]
    assert len(corners) == 4  # up to a half at 2, up to all at 4
    assert corners[0][0] == corners[1][0] < corners[2][0] == corners[3][0]
    assert corners[1][1] == corners[2][1] > corners[3][1]
    assert len(second.get('points').split()) == 2


def test_heights_begin_at_the_lowest_slice_of_each_series():
    rows = [
        {'z': '110', 'series': 'a'}, {'z': '100', 'series': 'a'}, {'z': '-5', 'series': 'b'},
        {'z': '', 'series': 'a'}, {'series': 'c'}, {'z': '7'},
    ]  # fmt: skip
    np.testing.assert_array_equal(heights(rows), [10, 0, 0, np.nan, np.nan, np.nan])
