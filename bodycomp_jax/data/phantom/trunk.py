"""CT of a synthetic trunk, from the pelvis to the lungs, and single slices of it."""

from typing import NamedTuple

import numpy as np

from bodycomp_jax.data.phantom import bones, muscles, organs, pelvis
from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.subject import LEVELS, Cut, Subject

PAINTERS = (  # from the outside in
    organs.paint_couch,
    organs.paint_layers,
    organs.paint_bowel,
    organs.paint_organs,
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
)
LUMBAR = (LEVELS.index('L5'), LEVELS.index('L1'))


class Trunk(NamedTuple):
    """A CT from the feet to the head, with its labels."""

    hu: np.ndarray  # [N, side, side] int16
    labels: np.ndarray  # [N, side, side] uint8: 0 background, 1, 2, 3 as in `ct.TISSUES`
    z: np.ndarray  # [N] mm, increasing towards the head
    levels: dict[str, float]  # mm of the middle of each vertebral body, by name


def draw(seed: int, side: int, spacing: float) -> Trunk:
    """The trunk of the subject that belongs to `seed`.

    Args:
      seed: a subject is the same at every `side` and `spacing`.
      side: of a slice, in pixels.
      spacing: mm between slices.
    """
    subject = Subject(np.random.default_rng(seed))
    z, levels = heights(subject, spacing)
    hu, labels = zip(*(_draw_at(subject, mm, side) for mm in z), strict=True)
    return Trunk(np.stack(hu), np.stack(labels), z, levels)


def draw_slice(seed: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """One slice between L5 and L1 of the subject that belongs to `seed`.

    Returns:
      (`[side, side]` int16 HU, `[side, side]` uint8 labels).
    """
    rng = np.random.default_rng(seed)
    subject = Subject(rng)
    return _draw_at(subject, subject.z(rng.uniform(*LUMBAR)), side)


def draw_slice_with_offsets(seed: int, side: int) -> tuple[np.ndarray, dict[str, float]]:
    """One slice at any height of the subject that belongs to `seed`.

    Returns:
      (`[side, side]` int16 HU, its mm above each level, by name).
    """
    rng = np.random.default_rng(seed)
    subject = Subject(rng)
    z = rng.uniform(0, subject.top)
    _, levels = heights(subject, subject.top)
    return _draw_at(subject, z, side)[0], {level: z - mm for level, mm in levels.items()}


def heights(subject: Subject, spacing: float) -> tuple[np.ndarray, dict[str, float]]:
    """Heights of the slices of a trunk and of its levels: (`[N]` mm, mm by name)."""
    levels = {level: subject.z(t) for t, level in enumerate(LEVELS)}
    return np.arange(0, subject.top, spacing), levels


def _draw_at(subject: Subject, z: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    cut = Cut(subject, subject.t(z))
    canvas = Canvas(side, cut)
    for paint in PAINTERS:
        paint(canvas, cut)
    # Seeded by the height, so that a slice does not depend on which others are drawn.
    rng = np.random.default_rng((subject.noise_seed, round(1000 * z)))
    hu = canvas.hu + _noise(rng, side, subject.noise)
    return hu.round().clip(-1024, 3071).astype(np.int16), canvas.labels


def _noise(rng: np.random.Generator, side: int, sigma: float) -> np.ndarray:
    """Spatially correlated Gaussian noise, as in reconstructed CT."""
    noise = rng.standard_normal((side, side), np.float32)
    for axis in (0, 1):
        noise = noise + np.roll(noise, 1, axis)
    return noise * (sigma / noise.std())
