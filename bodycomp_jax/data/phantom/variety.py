"""From which people and scanners subjects are drawn."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.phantom.population import Person
from bodycomp_jax.data.phantom.scanner import DrawScanner, any_scanner, plain_scanner

ABSENT = (  # from the plain people
    'lopsided',
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
    'lumbar',
    'lumbar_rib',
    'sacralisation',
    'arms',
    'screws',
    'prosthesis',
    'tubes',
    'blanket',
)
COMMON = {
    'muscle': 1.1,
    'wall': 1.3,
    'psoas': 1.0,
    'back': 1.0,
    'seams': 1.0,
    'planes': 0.3,
    'bend': 1.0,
    'muscle_hu': 55.0,
    'fat_hu': -105.0,
    'fat_front': 0.9,
    'fat_chest': 0.9,
    'spongy_hu': 170.0,
    'bowel': 80.0,
    'landmarks': 0.3,
    'taper': 1.7,
    'processes': 1.0,
    'ribs': 0.0,
    'rib_fall': 1.0,
    'last_rib': 0.3,
    'crest': 0.6,
}


class Variety(NamedTuple):
    """How the people and the scanners of a set of subjects are drawn."""

    draw_person: Callable[[np.random.Generator], Person]
    draw_scanner: DrawScanner


def plain_person(rng: np.random.Generator) -> Person:
    """Of common build and without findings, whole in the field of view of the plain scanner."""
    half_width, fat = rng.uniform((115, 12), (145, 28)).tolist()
    absent = dict.fromkeys(ABSENT, 0.0)
    return Person.draw(rng, 0.4, **absent, **COMMON, half_width=half_width, fat=fat)


PLAIN = Variety(plain_person, plain_scanner)  # for quick tests and demos
WIDE = Variety(Person.draw, any_scanner)
