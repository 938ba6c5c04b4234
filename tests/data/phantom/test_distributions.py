"""Numbers are drawn within their limits, as often as they say."""

import numpy as np
import pytest

from bodycomp_jax.data.phantom.distributions import Choice, Range


@pytest.mark.parametrize('log', [False, True])
def test_a_range_is_uniform_within_its_limits_or_0(log):
    rng = np.random.default_rng(0)
    values = np.array([Range('', 2, 32, 0.25, log).draw(rng) for _ in range(8000)])
    drawn = values[values != 0]
    assert 0.2 < len(drawn) / len(values) < 0.3
    assert 2 <= drawn.min() < 3 and 29 < drawn.max() <= 32
    assert np.median(drawn) == pytest.approx(8 if log else 17, rel=0.15)


def test_a_choice_is_each_of_its_values():
    rng = np.random.default_rng(0)
    values = [Choice('', (-1.0, -2.0, -3.0), 0.75).draw(rng) for _ in range(1000)]
    assert all(200 < values.count(x) < 300 for x in (0, -1, -2, -3))


@pytest.mark.parametrize('distribution', [Range('', 0, 8), Choice('', tuple(range(9)))])
def test_values_are_in_the_middle_of_what_is_possible(distribution):
    rng = np.random.default_rng(0)
    values = [distribution.draw(rng, width=0.5) for _ in range(200)]
    assert 2 <= min(values) < 2.5 and 5.5 < max(values) <= 6


def test_what_is_drawn_next_does_not_depend_on_what_came_out():
    following = []
    for distribution in (Range('', 1, 2), Range('', 1, 2, 0.0), Choice('', (5.0,), 0.5)):
        rng = np.random.default_rng(3)
        distribution.draw(rng)
        following.append(rng.random())
    assert len(set(following)) == 1


@pytest.mark.parametrize(
    'distribution, written',
    [
        (Range('', -0.5, 8), '-0.5 to 8'),
        (Range('', 1, 8, 0.4, log=True), 'in 40%: 1 to 8 (log)'),
        (Choice('', (-1024.0, -2000.0), 0.5), 'in 50%: -1024, -2000'),
    ],
)
def test_distributions_are_written_as_in_the_docs(distribution, written):
    assert str(distribution) == written
