"""Plain people have no findings and fit into the plain scanner; wide ones are of all kinds."""

import numpy as np
import pytest
from phantoms import FIELD_OF_VIEW, plain_subject

from bodycomp_jax.data import phantom
from bodycomp_jax.data.phantom.curves import BACK, FRONT, LEFT, RIGHT
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.variety import ABSENT


@pytest.mark.parametrize('name', ABSENT)
def test_what_some_people_have_plain_people_do_not(name):
    plain, wide = (
        [getattr(variety.draw_person(np.random.default_rng(seed)), name) for seed in range(100)]
        for variety in (phantom.PLAIN, phantom.WIDE)
    )
    assert not any(plain)
    assert any(wide)


def test_plain_people_differ_in_size_and_fat():
    people = [phantom.PLAIN.draw_person(np.random.default_rng(seed)) for seed in range(50)]
    for name in ('half_width', 'fat', 'roundness', 'vertebra'):
        assert len({getattr(person, name) for person in people}) == len(people)


def test_lumbar_slices_of_plain_people_are_within_the_plain_field_of_view():
    for seed in range(40):
        subject = plain_subject(seed)
        for cut in (Cut(subject, t) for t in range(5)):
            x = cut.centre[0] + np.array([-1, 1]) * cut.skin[[LEFT, RIGHT]]
            y = cut.centre[1] + np.array([-1, 1]) * cut.skin[[FRONT, BACK]]
            assert (np.abs([x, y]) < FIELD_OF_VIEW / 2).all()


def test_plain_scanners_are_the_same_and_wide_ones_differ():
    body = phantom.scanner.Box(-150, -100, 150, 100)
    for variety, number in ((phantom.PLAIN, 1), (phantom.WIDE, 5)):
        drawn = {variety.draw_scanner(np.random.default_rng(seed), body) for seed in range(5)}
        assert len(drawn) == number
