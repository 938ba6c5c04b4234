"""Painting what is uneven within the tissues, once all of them are in their places."""

import numpy as np

from bodycomp_jax.data.phantom import texture
from bodycomp_jax.data.phantom.canvas import Canvas
from bodycomp_jax.data.phantom.cut import Cut
from bodycomp_jax.data.phantom.tissue import (
    BACKGROUND,
    MUSCLE_LABEL,
    SUBCUTANEOUS_LABEL,
    VISCERAL_LABEL,
)


def paint_within_muscle(canvas: Canvas, cut: Cut) -> None:
    """Streaks of fat, more of them deep in the back; where fat prevails there is no label."""
    pixels = np.flatnonzero(canvas.labels == MUSCLE_LABEL)
    noise = canvas.texture(texture.FINE, pixels, 0) + canvas.texture(texture.MIDDLE, pixels, 1)
    noise *= np.float32(0.7)
    share = cut.person.infiltration
    hu = canvas.hu.ravel()
    hu[pixels] += 4 * noise
    if share:
        behind = (canvas.y.ravel()[pixels] - cut.spine_y).clip(0, 60) / 60
        threshold = 3.4 - 1.4 * share - 1.4 * share * behind
        fat = (0.5 + (noise - threshold) / 1.6).clip(0, 1)
        hu[pixels] += fat * (cut.tissues.other_fat.hu - hu[pixels])
        canvas.labels.ravel()[pixels[fat >= 0.5]] = BACKGROUND


def paint_within_subcutaneous_fat(canvas: Canvas, cut: Cut) -> None:
    """Septa and vessels, a fascia, water that sinks to the back."""
    pixels = np.flatnonzero(canvas.labels == SUBCUTANEOUS_LABEL)
    person, hu = cut.person, canvas.hu.ravel()
    coarse = canvas.texture(texture.COARSE, pixels, 2)
    lines = texture.ridges(canvas.texture(texture.MIDDLE, pixels, 2), 0.1)
    hu[pixels] += 3 * coarse + 55 * person.septa * lines * (coarse > 0.5)
    if person.oedema:
        behind = (0.5 + canvas.y.ravel()[pixels] / 150).clip(0, 1)
        hu[pixels] += 70 * person.oedema * behind * lines
    if person.fascia:
        angle, radius = canvas.angle.ravel()[pixels], canvas.radius.ravel()[pixels]
        middle = cut.wall + person.fascia * (cut.skin - cut.wall)
        on_line = canvas.cover(0.5 - np.abs(middle.astype(np.float32)[angle] - radius))
        hu[pixels] += 70 * on_line


def paint_within_visceral_fat(canvas: Canvas, cut: Cut) -> None:
    """Vessels of the mesentery, strands, and unevenness."""
    pixels = np.flatnonzero(canvas.labels == VISCERAL_LABEL)
    person, hu = cut.person, canvas.hu.ravel()
    coarse = canvas.texture(texture.COARSE, pixels, 3)
    fine, middle = (canvas.texture(scale, pixels, 4) for scale in (texture.FINE, texture.MIDDLE))
    hu[pixels] += 4 * coarse
    hu[pixels] += 60 * person.stranding * texture.ridges(fine, 0.25) * (coarse > -0.2)
    hu[pixels] += 25 * person.soaked * (middle + coarse)
    if person.vessels:
        x, y = canvas.x.ravel()[pixels], canvas.y.ravel()[pixels]
        root = np.exp(-((x / (0.6 * cut.width)) ** 2)) * (y < cut.spine_y)
        share = texture.ridges(middle, 0.22) * (coarse > 1.3 - 1.3 * person.vessels) * root
        hu[pixels] += share * (cut.tissues.venous_blood.hu - hu[pixels])
        canvas.labels.ravel()[pixels[share >= 0.5]] = BACKGROUND
