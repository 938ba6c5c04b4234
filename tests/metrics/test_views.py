"""Series seen from the front and from the side."""

import numpy as np
import pytest

from bodycomp_jax.metrics import views
from bodycomp_jax.metrics.figures import TRUE


def test_a_series_is_as_high_as_it_is_in_mm_whatever_its_gaps():
    slices = np.zeros((3, 64, 64), np.uint8)
    slices[:, 20:40, 20:40] = np.array([60, 120, 240])[:, None, None] + 10
    z = np.array([-50.0, -40.0, 50.0])
    picture = views.series_views(slices.__getitem__, z, 2.0, {'L3': 30.0, 'L9': 1e4})
    assert picture.shape == (51, 128, 3)
    assert (picture[10] == TRUE).all()
    front, side = picture[:, 30, 0].astype(int), picture[:, 64 + 30, 0].astype(int)
    for view in (front, side):
        top, middle, bottom = view[0], view[45], view[50]
        assert top > middle > bottom > 0
        assert view[30] == pytest.approx(middle + (top - middle) / 3, abs=1)


@pytest.mark.parametrize(('count', 'z'), [(1, [3.0]), (2, [0.0, 5.0]), (2, [0.0, 1e6])])
def test_a_series_of_one_slice_or_of_air_and_an_endless_one_are_drawn(count, z):
    air = np.zeros((count, 16, 16), np.uint8)
    picture = views.series_views(air.__getitem__, np.array(z), 1.0, {'L3': 3.0})
    assert 1 <= len(picture) <= views.MAX_HEIGHT + 1
