"""Figures as SVG."""

import xml.etree.ElementTree

import numpy as np
import pytest

from bodycomp_jax.evaluation import plots
from bodycomp_jax.evaluation.plots import Axes, Level, Points, axes_around, plot

SVG = '{http://www.w3.org/2000/svg}'


def drawn(points, levels=(), title='title'):
    """The elements of a figure by their tags."""
    svg = plot(title, 'x', 'y', points, axes_around(points, levels), levels)
    root = xml.etree.ElementTree.fromstring(svg)
    return {
        tag: list(root.iter(SVG + tag)) for tag in ('circle', 'polyline', 'text', 'line', 'rect')
    }


def test_points_are_where_their_values_are():
    points = [Points(np.array([0.0, 10, np.nan]), np.array([5.0, -5, 0]), (255, 0, 0), 'red')]
    found = drawn(points)
    (left, high), (right, low) = (
        (float(each.get('cx')), float(each.get('cy'))) for each in found['circle']
    )
    assert plots.LEFT < left < right < plots.WIDTH
    assert plots.TOP < high < low < plots.HEIGHT - plots.BOTTOM
    assert 'red' in [each.text for each in found['text']]
    assert found['rect'][0].get('fill') == '#ff0000'


def test_lines_and_levels():
    line = Points(np.array([0.0, 1]), np.array([0.0, 1]), (0, 0, 0), is_line=True)
    found = drawn([line], [Level(3.0, '+3.00', True), Level(0.5, 'bias', False)])
    assert len(found['polyline'][0].get('points').split()) == 2
    dashed = [each for each in found['line'] if each.get('stroke-dasharray')]
    assert len(dashed) == 1
    assert float(dashed[0].get('y1')) >= plots.TOP  # the axes hold it


def test_foreign_names_do_not_end_an_element():
    found = drawn([Points(np.zeros(1), np.zeros(1), (0, 0, 0), '</svg>&')], title='<b>&"')
    assert {'</svg>&', '<b>&"'} <= {each.text for each in found['text']}


def test_many_points_are_thinned():
    many = np.arange(5 * plots.MAX_POINTS, dtype=float)
    assert len(drawn([Points(many, many, (0, 0, 0))])['circle']) == plots.MAX_POINTS


@pytest.mark.parametrize('values', [[], [np.nan], [3.0], [0.0], [1e-300, 1e300], [1e9, 1e9 + 1]])
def test_any_values_have_axes(values):
    values = np.array(values, float)
    drawn([Points(values, values, (0, 0, 0))])


def test_ticks_are_round_and_within():
    svg = plot('', '', '', [], Axes((-0.13, 0.27), (0, 1)))
    texts = [each.text for each in xml.etree.ElementTree.fromstring(svg).iter(SVG + 'text')]
    assert {'-0.1', '0', '0.1', '0.2'} <= {*texts}
