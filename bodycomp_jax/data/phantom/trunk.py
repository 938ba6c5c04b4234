"""CT of a synthetic trunk, from the pelvis to the lungs, and single slices of it."""

from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.phantom import bones, muscles, organs, pelvis, surroundings, within
from bodycomp_jax.data.phantom.acquisition import acquire, outside_circle
from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.curves import BACK, FRONT, LEFT, RIGHT
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.grids import finer
from bodycomp_jax.data.phantom.scanner import Box, Scanner
from bodycomp_jax.data.phantom.subject import Subject
from bodycomp_jax.data.phantom.tissue import BACKGROUND
from bodycomp_jax.data.phantom.variety import PLAIN, Variety

PAINTERS = (  # from the outside in
    surroundings.paint_couch,
    surroundings.paint_arms,
    surroundings.paint_clothes,
    organs.paint_layers,
    organs.paint_fluid,
    organs.paint_bowel,
    organs.paint_organs,
    organs.paint_masses,
    organs.paint_vessels,
    organs.paint_chest,
    muscles.paint_crura,
    pelvis.paint_buttocks,
    muscles.paint_back,
    muscles.paint_psoas,
    pelvis.paint_wings,
    pelvis.paint_hips,
    bones.paint_sacrum,
    bones.paint_vertebra,
    bones.paint_ribs,
    within.paint_within_muscle,
    within.paint_within_subcutaneous_fat,
    within.paint_within_visceral_fat,
    bones.paint_screws,
)
LABELLED = (-0.8, 8.0)  # t between which `draw_slice` draws
MEASURED = range(5)  # t whose slices are in the field of view
THIN_MM = 3.0  # slices up to this thickness show what is in their middle
THIRDS_SIDE = 256  # pixels


class Trunk(NamedTuple):
    """A CT from the feet to the head, with its labels."""

    hu: np.ndarray  # [N, side, side] int16
    labels: np.ndarray  # [N, side, side] uint8: 0 background, 1, 2, 3 as in `ct.TISSUES`
    z: np.ndarray  # [N] mm, increasing towards the head
    levels: dict[str, float]  # mm of the middle of each vertebral body, by name
    pixel_mm: float


def draw(seed: int, side: int, spacing: float, variety: Variety = PLAIN) -> Trunk:
    """The trunk of the subject that belongs to `seed`.

    Args:
      seed: a subject and its scanner are the same at every `side` and `spacing`.
      side: of a slice, in pixels.
      spacing: mm between slices.
      variety: from which subjects and scanners are drawn.
    """
    subject, scanner, _ = _draw_subject(seed, variety)
    z = _heights(subject, spacing)
    hu, labels = zip(*(_scan(subject, scanner, mm, side) for mm in z), strict=True)
    return Trunk(np.stack(hu), np.stack(labels), z, subject.levels, scanner.field_of_view / side)


def draw_slice(seed: int, side: int, variety: Variety = PLAIN) -> tuple[np.ndarray, np.ndarray]:
    """One slice between the sacrum and T9 of the subject that belongs to `seed`.

    Returns:
      (`[side, side]` int16 HU, `[side, side]` uint8 labels).
    """
    subject, scanner, rng = _draw_subject(seed, variety)
    return _scan(subject, scanner, subject.z(rng.uniform(*LABELLED)), side)


def draw_slice_with_offsets(
    seed: int, side: int, variety: Variety = PLAIN
) -> tuple[np.ndarray, dict[str, float]]:
    """One slice at any height of the subject that belongs to `seed`.

    Returns:
      (`[side, side]` int16 HU, its mm above each level, by name).
    """
    subject, scanner, rng = _draw_subject(seed, variety)
    z = rng.uniform(0, subject.top)
    offsets = {level: z - mm for level, mm in subject.levels.items()}
    return _scan(subject, scanner, z, side)[0], offsets


def heights(
    seed: int, spacing: float, variety: Variety = PLAIN
) -> tuple[np.ndarray, dict[str, float]]:
    """`z` and `levels` of the trunk that `draw` returns, without drawing it."""
    subject, _, _ = _draw_subject(seed, variety)
    return _heights(subject, spacing), subject.levels


def _draw_subject(seed: int, variety: Variety) -> tuple[Subject, Scanner, np.random.Generator]:
    """Returns the generator too, for what else is drawn for the subject."""
    rng = np.random.default_rng(seed)
    subject = Subject(rng, variety.draw_person(rng))
    return subject, _scanner_of(subject, variety), rng


def _heights(subject: Subject, spacing: float) -> np.ndarray:
    return np.arange(0, subject.top, spacing)


def _scanner_of(subject: Subject, variety: Variety) -> Scanner:
    """The scanner of a subject, with a field of view for its lumbar slices."""
    boxes = []
    for t in MEASURED:
        cut = Cut(subject, t)
        (x, y), skin = cut.centre, cut.skin
        boxes.append((x - skin[LEFT], y - skin[FRONT], x + skin[RIGHT], y + skin[BACK]))
    left, front, right, back = np.transpose(boxes).tolist()
    body = Box(min(left), min(front), max(right), max(back))
    return variety.draw_scanner(np.random.default_rng(subject.noise_seed), body)


def _scan(subject: Subject, scanner: Scanner, z: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    """HU and labels of the slice around a height; the labels are of its middle."""
    matrix = round(min(scanner.matrix or side, side))
    middle = _paint(subject, scanner, z, matrix)
    hu, labels = middle.hu, middle.labels
    if scanner.thickness > THIN_MM:
        hu = hu + _partial_volume(subject, scanner, z, hu)
    # Seeded by the height, so that a slice does not depend on which others are drawn.
    rng = np.random.default_rng((subject.noise_seed, round(1000 * z)))
    hu = finer(acquire(scanner, rng, hu), side).round().astype(np.int16)
    if scanner.padding:
        labels[outside_circle(matrix)] = BACKGROUND
    nearest = ((np.arange(side) + 0.5) * (matrix / side)).astype(np.intp)
    return hu, labels[nearest[:, None], nearest]


def _paint(subject: Subject, scanner: Scanner, z: float, side: int) -> Canvas:
    cut = Cut(subject, subject.t(z))
    canvas = Canvas(side, cut, scanner.field_of_view, scanner.middle)
    for paint in PAINTERS:
        paint(canvas, cut)
    return canvas


def _partial_volume(subject: Subject, scanner: Scanner, z: float, hu: np.ndarray) -> np.ndarray:
    """HU that the lower and the upper third of a slice add to what is in its middle.

    Painted on a coarser grid where there are many pixels: faster, and what differs between the
    thirds has no sharp borders in their mean.
    """
    side, third = min(len(hu), THIRDS_SIDE), scanner.thickness / 3
    lower, upper = (_paint(subject, scanner, z + up, side).hu for up in (-third, third))
    middle = hu if side == len(hu) else _paint(subject, scanner, z, side).hu
    return finer((lower + upper - 2 * middle) / 3, len(hu))
