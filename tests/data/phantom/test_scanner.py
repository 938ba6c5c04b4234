"""Scanners are drawn from the table that stands in the docs, for the body that they show."""

import numpy as np
import pytest
from helpers import ROOT

from bodycomp_jax.data.phantom import scanner
from bodycomp_jax.data.phantom.distributions import Range
from bodycomp_jax.data.phantom.scanner import RANGES, Box, any_scanner

BODY = Box(-170, -100, 170, 130)


@pytest.fixture(scope='module')
def scanners():
    return [any_scanner(np.random.default_rng(seed), BODY) for seed in range(400)]


def test_everything_of_a_scanner_is_in_the_table_and_drawn_from_it(scanners):
    geometry = {'field_of_view', 'middle'}
    names = set(scanner.Scanner._fields) - geometry
    assert names == set(RANGES) - {'filled', 'cut', 'aside', 'low'}
    for name in names:
        values = np.array([getattr(s, name) for s in scanners])
        drawn = values[values != 0]
        assert len(drawn) / len(values) == pytest.approx(RANGES[name].chance, abs=0.07)
        if isinstance(RANGES[name], Range):
            assert RANGES[name].low <= drawn.min() < drawn.max() <= RANGES[name].high
        else:
            assert set(drawn) == set(RANGES[name].values)


def test_fields_do_not_depend_on_each_other(monkeypatch, scanners):
    monkeypatch.setitem(RANGES, 'thickness', Range('', 0, 0, 0.0))
    for seed in range(5):
        thin = any_scanner(np.random.default_rng(seed), BODY)
        assert thin == scanners[seed]._replace(thickness=0)


def sides_cut(s, body):
    """How many of the four sides of a body are outside the field of view."""
    half = s.field_of_view / 2
    (x, y), (left, front, right, back) = s.middle, body
    return (x - left > half) + (right - x > half) + (y - front > half) + (back - y > half)


def test_most_bodies_fit_and_some_are_cut(scanners):
    cut = np.mean([sides_cut(s, BODY) > 0 for s in scanners])
    assert 0.05 < cut < 0.15
    assert np.ptp([s.middle[0] for s in scanners]) > 50
    assert np.ptp([s.middle[1] for s in scanners]) > 50


@pytest.mark.parametrize('half_width', [60, 400])
def test_pixels_keep_to_their_limits_for_bodies_of_any_size(half_width):
    body = Box(-half_width, -90, half_width, 90)
    for seed in range(20):
        s = any_scanner(np.random.default_rng(seed), body)
        assert 0.55 * 512 <= s.field_of_view <= 1.0 * 512
        assert bool(sides_cut(s, body)) == (half_width == 400)


def test_the_docs_hold_the_table():
    lines = (ROOT / 'docs/synthetic.md').read_text().splitlines()
    for values in RANGES.values():
        assert f'| {values.what} | {values} |' in lines
