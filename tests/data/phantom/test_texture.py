"""Noise within tissues: smooth over its scale, periodic, normalised."""

import numpy as np
import pytest

from bodycomp_jax.data.phantom import texture


@pytest.fixture(scope='module', params=[texture.FINE, texture.MIDDLE, texture.COARSE])
def scale(request):
    return request.param


def test_a_tile_has_zero_mean_unit_variance_and_no_edge(scale):
    tile = texture.tile(scale)
    assert (tile.shape, tile.dtype) == ((texture.LENGTH,) * 2, np.float32)
    assert abs(tile.mean()) < 1e-4
    assert tile.std() == pytest.approx(1, abs=1e-4)
    step = np.abs(np.diff(tile, axis=0)).mean()
    assert np.abs(tile[0] - tile[-1]).mean() == pytest.approx(step, rel=0.2)


def test_a_tile_is_smooth_over_its_scale(scale):
    tile = texture.tile(scale)

    def correlation(mm):
        return (tile * np.roll(tile, round(mm / texture.STEP), 0)).mean()

    assert correlation(scale / 2) > 0.9
    assert correlation(scale) == pytest.approx(np.exp(-0.25), abs=0.1)
    assert abs(correlation(5 * scale)) < 0.15


def test_positions_wrap_around():
    length = texture.STEP * texture.LENGTH
    mm = np.array([0.0, 1.0, 100.0])
    np.testing.assert_array_equal(texture.indices(mm), texture.indices(mm + 3 * length))


def test_ridges_are_where_noise_crosses_zero():
    np.testing.assert_allclose(
        texture.ridges(np.array([0, 0.1, -0.1, 3.0]), 0.1), np.exp([0, -1, -1, -900])
    )
