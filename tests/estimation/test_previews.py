"""Pictures of what was measured and where."""

import dataclasses
import math

import numpy as np
import pytest
from mask_files import series_of
from PIL import Image

from bodycomp_jax.estimation import previews
from bodycomp_jax.estimation.result import Curve, Measured, SeenSlices
from bodycomp_jax.metrics.figures import PREDICTED, TRUE
from bodycomp_jax.metrics.tinting import COLOURS, TINT
from bodycomp_jax.vertebrae import LevelPosition, find_level

TILE, LINE = previews.TILE, previews.LINE
SHAPE, SPACING = (6, 30, 40), (5.0, 1.0, 1.5)  # 30 x 60 mm
SERIES = series_of(SHAPE, SPACING)
LABELS = np.zeros(SHAPE[1:], np.uint8)
LABELS[:, 20:] = 1
MEASURED = Measured('L3', 2, LABELS, np.full(SHAPE[1:], -160, np.int16), {'muscle_area_cm2': 12.5})
SEEN = SeenSlices(np.full((4, 32, 32), 200, np.uint8), SERIES.z[[5, 0, 1, 2]], 2.0)
CURVE = Curve(SERIES.z, SERIES.z - SERIES.z[3], find_level(SERIES.z, SERIES.z - SERIES.z[3], 5.0))


def drawn(tmp_path, **parts):
    path = tmp_path / 'a.jpg'
    previews.draw_preview(str(path), SERIES, 'L3', **parts)
    with Image.open(path) as picture:
        assert picture.format == 'JPEG'
        return np.asarray(picture).astype(int)


def test_a_slice_has_the_proportions_of_the_patient_and_its_tissues(tmp_path):
    picture = drawn(tmp_path, measured=MEASURED)
    assert picture.shape == (TILE // 2 + 2 * LINE, 2 * TILE, 3)
    quarter = LINE + TILE // 8
    tissue = picture[quarter, TILE + 3 * TILE // 4]
    assert np.abs(tissue - TINT * np.array(COLOURS['muscle'])).max() < 8
    for background in (TILE // 4, 3 * TILE // 4, TILE + TILE // 4):
        assert picture[quarter, background].max() < 8


def test_fat_in_muscle_is_shown_where_it_is_labelled_apart(tmp_path):
    labels = np.where(LABELS == 1, 4, 0).astype(np.uint8)
    picture = drawn(tmp_path, measured=dataclasses.replace(MEASURED, labels=labels))
    tissue = picture[LINE + TILE // 8, TILE + 3 * TILE // 4]
    colour = np.array(COLOURS['intermuscular_fat'])
    assert np.abs(tissue - TINT * colour).max() < 8
    legend = picture[LINE + TILE // 2 :].reshape(-1, 3)
    assert (np.abs(legend - colour).max(-1) < 8).sum() > 50
    legend = drawn(tmp_path, measured=MEASURED)[LINE + TILE // 2 :].reshape(-1, 3)
    assert not (np.abs(legend - colour).max(-1) < 8).sum() > 50


def test_a_level_has_a_line_in_both_views_and_a_curve(tmp_path):
    picture = drawn(tmp_path, measured=MEASURED, seen=SEEN, curve=CURVE, threshold=5.0)
    below = picture[TILE // 2 + 2 * LINE :]
    assert below.shape == (previews.MIN_HEIGHT, 2 * TILE, 3)
    is_line = np.abs(below[:, :TILE] - TRUE).max(-1) < 60
    (rows,) = np.nonzero(is_line.sum(1) > 40)
    mm_from_the_top = SERIES.z[-1] - SERIES.z[MEASURED.index]
    assert rows.mean() == pytest.approx(mm_from_the_top / SEEN.pixel, abs=1.5)
    vertical = (np.abs(below[60:200, TILE:] - PREDICTED).max(-1) < 90).mean(0) > 0.6
    assert vertical.any()


def test_series_without_a_slice_at_the_level_are_shown(tmp_path):
    picture = drawn(tmp_path, seen=SEEN, curve=CURVE, threshold=5.0)
    assert picture.shape == (previews.MIN_HEIGHT, 2 * TILE, 3)
    assert not (np.abs(picture[:, :TILE] - TRUE).max(-1) < 60).any()


def test_a_curve_without_a_position_is_not_drawn(tmp_path):
    lost = Curve(SERIES.z, SERIES.z * math.nan, LevelPosition(math.nan, math.nan, True))
    picture = drawn(tmp_path, measured=MEASURED, curve=lost)
    assert len(picture) == TILE // 2 + 2 * LINE


def test_long_series_are_not_higher_than_a_slice(tmp_path):
    z = np.arange(4) * 700.0
    picture = drawn(tmp_path, seen=SeenSlices(SEEN.grey, z, 2.0))
    assert len(picture) <= TILE
