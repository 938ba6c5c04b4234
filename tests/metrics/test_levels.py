import numpy as np
import pytest

from bodycomp_jax.metrics.levels import summarize_levels

Z = np.linspace(-60, 60, 25)


def summary(predicted, offsets, series):
    return summarize_levels(
        predicted[:, None], offsets=offsets[:, None], series=series, levels=('L3',), threshold=10.0
    )


def test_errors_of_slices_and_of_positions():
    """One series shifted by 4 mm and one by 15 mm: errors within 30 mm of the level count."""
    predicted = np.concatenate([Z - 4, Z - 15])
    series = {'a': np.arange(25), 'b': np.arange(25, 50)}
    found = summary(predicted, np.concatenate([Z, Z]), series)
    assert found['offset_error_mm_L3'] == pytest.approx((4 + 15) / 2)
    assert found['level_error_mm_L3'] == pytest.approx((4 + 15) / 2, abs=0.3)
    assert found['level_error_median_mm_L3'] == pytest.approx((4 + 15) / 2, abs=0.3)
    assert found['level_within_10mm_L3'] == 0.5


def test_only_series_that_contain_the_level_count():
    offsets = np.concatenate([Z, Z + 100])
    series = {'a': np.arange(25), 'above': np.arange(25, 50)}
    found = summary(offsets, offsets, series)
    assert found['level_error_mm_L3'] == pytest.approx(0, abs=0.1)
    assert found['level_within_10mm_L3'] == 1
    nothing = summary(Z + 100, Z + 100, {'above': np.arange(25)})
    assert all(np.isnan(value) for value in nothing.values())
