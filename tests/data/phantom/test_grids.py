"""Coarser and finer grids."""

import numpy as np
import pytest

from bodycomp_jax.data.phantom.grids import coarser, finer


def test_a_coarser_grid_holds_the_mean_of_each_block():
    image = np.random.default_rng(0).random((12, 12), np.float32)
    np.testing.assert_allclose(coarser(image, 4), image.reshape(4, 3, 4, 3).mean((1, 3)), rtol=1e-5)


@pytest.mark.parametrize(('side', 'coarse'), [(10, 4), (33, 16), (5, 5)])
def test_pixels_on_a_border_are_shared_so_that_the_mean_stays(side, coarse):
    image = np.random.default_rng(0).random((side, side), np.float32)
    assert coarser(image, coarse).mean() == pytest.approx(image.mean(), rel=1e-5)
    constant = np.full((side, side), 7, np.float32)
    np.testing.assert_allclose(coarser(constant, coarse), 7, rtol=1e-5)


@pytest.mark.parametrize('side', [12, 31])
def test_a_finer_grid_is_linear_between_the_middles_of_pixels(side):
    n = 8
    at, wanted = ((np.arange(k, dtype=np.float32) + 0.5) / k for k in (n, side))
    plane = 3 * at[:, None] - 2 * at
    inside = (wanted > 0.5 / n) & (wanted < 1 - 0.5 / n)
    np.testing.assert_allclose(
        finer(plane, side)[np.ix_(inside, inside)],
        (3 * wanted[:, None] - 2 * wanted)[np.ix_(inside, inside)],
        atol=1e-5,
    )
    assert finer(plane, side)[0, 0] == pytest.approx(plane[0, 0], abs=1e-6)
