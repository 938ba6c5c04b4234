"""Errors of projections have the size and the place that their names say."""

import numpy as np
import pytest

from bodycomp_jax.data.phantom.projections import GRID, _project, _reconstruct, projection_errors
from bodycomp_jax.data.phantom.scanner import Scanner

SIDE = 128
AXIS = (np.arange(SIDE) + 0.5) * Scanner().field_of_view / SIDE - Scanner().field_of_view / 2
X, Y = AXIS[None], AXIS[:, None]
RADIUS = np.hypot(X, Y)
BODY = RADIUS < 150


def phantom_with(hu=0, radius=0.0, apart=0.0):
    """HU of a disc of water with two round things in it, a distance apart."""
    image = np.where(BODY, 0, -1000).astype(np.float32)
    image[np.hypot(np.abs(X) - apart / 2, Y) < radius] = hu
    return image


def errors(image, seed=0, **fields):
    return projection_errors(Scanner(**fields), np.random.default_rng(seed), image)


def mean_at(field, x, y):
    return field[np.hypot(X - x, Y - y) < 4].mean()


def test_projections_are_paths_and_their_reconstruction_is_the_image():
    image = np.zeros((GRID, GRID), np.float32)
    image[30:60, 40:70] = 2
    paths = _project(image)
    np.testing.assert_allclose(paths.sum(1), image.sum(), rtol=1e-4)
    assert paths[0, 45:65] == pytest.approx(60)  # along the columns
    result = _reconstruct(paths)
    assert result[34:56, 44:66] == pytest.approx(2, abs=0.1)
    assert result[10:20].mean() == pytest.approx(0, abs=0.05)


def test_without_errors_nothing_is_added():
    assert not np.any(errors(phantom_with()))
    assert not np.any(errors(phantom_with(), metal=500.0))


@pytest.mark.parametrize('cupping', [20.0, -10.0])
def test_cupping_darkens_the_middle_and_keeps_the_mean(cupping):
    field = errors(phantom_with(), cupping=cupping)
    rim = field[(RADIUS > 120) & (RADIUS < 140)].mean()
    assert rim - mean_at(field, 0, 0) == pytest.approx(cupping, rel=0.2)
    assert field[BODY].mean() == pytest.approx(0, abs=0.05 * abs(cupping))


def test_it_is_darker_between_two_bones_and_nowhere_else():
    field = errors(phantom_with(1150, 25, 200), hardening=30.0)
    assert mean_at(field, 0, 0) == pytest.approx(-30, rel=0.2)
    assert abs(mean_at(field, 0, 100)) < 8
    assert not np.allclose(field, 0)


def test_soft_tissue_does_not_harden():
    np.testing.assert_allclose(errors(phantom_with(100, 25, 200), hardening=30.0), 0, atol=1e-3)


def test_metal_casts_streaks_that_differ_from_ray_to_ray():
    image = phantom_with(3000, 6, 100)
    field, other = (errors(image, seed, metal=300.0) for seed in (0, 1))
    assert field.min() < -100
    ring = (RADIUS > 80) & (RADIUS < 130)
    assert field[ring].std() > 3
    assert np.abs(field - other)[ring].mean() > 1
