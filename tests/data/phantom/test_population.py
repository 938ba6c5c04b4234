"""People are drawn from the table that stands in the docs."""

import dataclasses

import numpy as np
import pytest
from helpers import ROOT

from bodycomp_jax.data.phantom.distributions import Choice
from bodycomp_jax.data.phantom.population import Person

DISTRIBUTIONS = {field.name: field.metadata['distribution'] for field in dataclasses.fields(Person)}


@pytest.mark.parametrize('name', DISTRIBUTIONS)
def test_a_parameter_is_as_its_distribution_says(people, name):
    values = np.array([getattr(person, name) for person in people])
    drawn = values[values != 0]
    assert len(drawn) / len(values) == pytest.approx(DISTRIBUTIONS[name].chance, abs=0.08)
    if isinstance(DISTRIBUTIONS[name], Choice):
        assert set(drawn) == set(DISTRIBUTIONS[name].values)
    else:
        assert DISTRIBUTIONS[name].low <= drawn.min() < drawn.max() <= DISTRIBUTIONS[name].high


@pytest.fixture(scope='module')
def people():
    return [Person.draw(np.random.default_rng(seed)) for seed in range(300)]


def test_what_is_given_is_not_drawn_and_changes_nothing_else(people):
    for seed in range(5):
        lean = Person.draw(np.random.default_rng(seed), fat=4.0)
        assert lean == dataclasses.replace(people[seed], fat=4.0)


def test_the_docs_hold_the_table():
    lines = (ROOT / 'docs/synthetic.md').read_text().splitlines()
    for values in DISTRIBUTIONS.values():
        assert f'| {values.what} | {values} |' in lines
