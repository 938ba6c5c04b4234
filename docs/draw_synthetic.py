"""Draws the pictures of docs/synthetic.md and docs/labels.md.

.venv/bin/python docs/draw_synthetic.py
"""

import dataclasses
import pathlib

import numpy as np
from PIL import Image

from bodycomp_jax import ct
from bodycomp_jax.data import phantom
from bodycomp_jax.data.phantom.population import Person
from bodycomp_jax.metrics.tinting import label_colours, tinted, uncoloured

HERE = pathlib.Path(__file__).parent
SEED = 100  # of the first subject
ROWS, COLUMNS, TILE = 4, 6, 168  # of the contact sheet; pixels
LARGE, MARGIN = 512, 12  # pixels of a slice in docs/labels.md, and around the body
BARE = {'screws': 0.0, 'tubes': 0.0, 'blanket': 0.0}
NORMAL = {**BARE, 'fat': 17.0, 'half_width': 128.0, 'muscle': 1.1, 'infiltration': 0.0}
WASTED = {**BARE, 'fat': 22.0, 'half_width': 128.0, 'muscle': 0.65, 'infiltration': 0.9}
COLOURS = label_colours(ct.TISSUES)


def main() -> None:
    """Writes docs/synthetic.jpg and docs/labels-*.png."""
    slices = [
        slice_at('L3', seed, TILE, phantom.WIDE)[0] for seed in range(SEED, SEED + ROWS * COLUMNS)
    ]
    rows = [np.hstack(slices[i : i + COLUMNS]) for i in range(0, len(slices), COLUMNS)]
    Image.fromarray(uncoloured(np.vstack(rows))[..., 0]).save(HERE / 'synthetic.jpg', quality=88)
    for name, level, given in (
        ('normal', 'L3', NORMAL),
        ('wasted', 'L3', WASTED),
        ('t12', 'T12', NORMAL),
    ):
        hu, labels = slice_at(level, SEED, LARGE, people_with(given))
        hu, labels = (picture[body_of(labels)] for picture in (hu, labels))
        pair = np.hstack([uncoloured(hu), tinted(uncoloured(hu), labels, COLOURS)])
        Image.fromarray(pair).save(HERE / f'labels-{name}.png', optimize=True)


def people_with(given: dict[str, float]) -> phantom.Variety:
    """Plain people but for these parameters, on the plain scanner."""

    def draw_person(rng: np.random.Generator) -> Person:
        return dataclasses.replace(phantom.PLAIN.draw_person(rng), **given)

    return phantom.Variety(draw_person, phantom.PLAIN.draw_scanner)


def slice_at(
    level: str, seed: int, side: int, variety: phantom.Variety
) -> tuple[np.ndarray, np.ndarray]:
    """HU and labels of the slice of a subject at a level."""
    height = phantom.heights(seed, 1.0, variety)[1][level]
    trunk = phantom.draw(seed, side, height, variety)  # at 0, at this height, at twice this height
    return trunk.hu[1], trunk.labels[1]


def body_of(labels: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of all that is labelled, and a margin."""
    top, left = (np.flatnonzero(labels.any(axis)).min() - MARGIN for axis in (1, 0))
    bottom, right = (np.flatnonzero(labels.any(axis)).max() + MARGIN for axis in (1, 0))
    return slice(top, bottom), slice(left, right)


if __name__ == '__main__':
    main()
