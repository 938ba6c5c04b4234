"""From which people and scanners subjects are drawn."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.phantom.population import Person
from bodycomp_jax.data.phantom.scanner import DrawScanner, any_scanner, plain_scanner

ABSENT = (  # from the plain people
    'scoliosis',
    'breasts',
    'folds',
    'oedema',
    'infiltration',
    'oral_contrast',
    'stranding',
    'soaked',
    'ascites',
    'masses',
    'arms',
    'screws',
    'prosthesis',
    'tubes',
    'blanket',
)


class Variety(NamedTuple):
    draw_person: Callable[[np.random.Generator], Person]
    draw_scanner: DrawScanner


def plain_person(rng: np.random.Generator) -> Person:
    """Of common build and without findings."""
    given = dict.fromkeys(ABSENT, 0.0)
    return Person.draw(rng, **given, muscle=1.0, wall=1.0, seams=1.0, planes=0.3, bend=1.0)


PLAIN = Variety(plain_person, plain_scanner)  # for quick tests and demos
WIDE = Variety(Person.draw, any_scanner)
