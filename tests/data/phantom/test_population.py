"""People are drawn from the table that stands in the docs."""

import dataclasses

import numpy as np
import pytest
from helpers import ROOT

from bodycomp_jax.data.phantom.population import Person

RANGES = {field.name: field.metadata['range'] for field in dataclasses.fields(Person)}


@pytest.mark.parametrize('name', RANGES)
def test_a_parameter_is_within_its_range_as_often_as_it_says(people, name):
    values = np.array([getattr(person, name) for person in people])
    drawn = values[values != 0]
    assert len(drawn) / len(values) == pytest.approx(RANGES[name].chance, abs=0.08)
    assert RANGES[name].low <= drawn.min() < drawn.max() <= RANGES[name].high


@pytest.fixture(scope='module')
def people():
    return [Person.draw(np.random.default_rng(seed)) for seed in range(300)]


def test_what_is_given_is_not_drawn_and_changes_nothing_else(people):
    for seed in range(5):
        lean = Person.draw(np.random.default_rng(seed), fat=4.0)
        assert lean == dataclasses.replace(people[seed], fat=4.0)


def test_the_docs_hold_the_table():
    lines = (ROOT / 'docs/synthetic.md').read_text().splitlines()
    for values in RANGES.values():
        assert f'| {values.what} | {values} |' in lines
