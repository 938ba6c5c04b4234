"""Level metrics: errors of the offsets of slices, and of the positions of levels."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bodycomp_jax import vertebrae

WITHIN_MM = 10


def summarize_levels(
    predicted: np.ndarray,
    *,
    offsets: np.ndarray,
    series: Mapping[str, np.ndarray],
    levels: Sequence[str],
    threshold: float,
) -> dict[str, float]:
    """Errors in mm of each level; NaN where there is nothing to average.

    Args:
      predicted, offsets: `[N, L]` predicted and true offsets in mm.
      series: {name: indices of its slices}.
      levels: names of the L levels.
      threshold: mm.

    Returns:
      {'offset_error_mm_<level>': mean absolute error of the slices less than
         `vertebrae.SIGMOID_RANGE` thresholds away,
       'level_error_mm_<level>', 'level_error_median_mm_<level>': distance between the position
         from `vertebrae.find_level` and the true one, over the series that contain the level,
       'level_within_10mm_<level>': fraction of these series}.
    """
    metrics: dict[str, float] = {}
    for i, level in enumerate(levels):
        true, found = offsets[:, i], predicted[:, i].astype(float)
        near = np.abs(true) < vertebrae.SIGMOID_RANGE * threshold
        errors = np.abs(found - true)[near]
        # In positions relative to the level, the level is at 0.
        distances = np.array([
            abs(vertebrae.find_level(true[rows], found[rows], threshold).z)
            for rows in series.values()
            if true[rows].min() <= 0 <= true[rows].max()
        ])  # fmt: skip
        metrics |= {
            f'offset_error_mm_{level}': _average(np.mean, errors),
            f'level_error_mm_{level}': _average(np.mean, distances),
            f'level_error_median_mm_{level}': _average(np.median, distances),
            f'level_within_{WITHIN_MM}mm_{level}': _average(np.mean, distances <= WITHIN_MM),
        }
    return metrics


def _average(function: Callable, values: np.ndarray) -> float:
    return float(function(values)) if len(values) else float('nan')
