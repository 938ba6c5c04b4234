"""What a validation says, in the units of the field: Dice and areas, mm from a vertebral level."""

import jax.numpy as jnp
import numpy as np

from bodycomp_jax import vertebrae

CLOSE = 10  # mm


def segmentation_sums(logits, batch):
    """Areas in pixels from which the metrics are made, summed over the slices of a batch.

    Args:
      logits: `[B, H, W, C]`, class 0 the background.
      batch: 'mask' `[B, H, W]` integer labels and 'weight' `[B]`, 1 or 0.

    Returns:
      {name: `[C - 1]`, one entry a tissue}: 'intersection', 'predicted', 'labelled' areas,
      'area_error', the absolute difference of the areas of each slice, 'slices' in which the
      tissue occurs and 'slice_dice', the sum of their Dice.
    """
    prediction = logits.argmax(-1)[..., None]
    tissues = jnp.arange(1, logits.shape[-1]).reshape(1, 1, 1, -1)

    def areas(where):  # [B, C - 1]; exact: a slice has fewer than 2**24 pixels
        return where.sum((1, 2)).astype(jnp.float32) * batch['weight'][:, None]

    predicted = prediction == tissues
    labelled = batch['mask'][..., None] == tissues
    I, P, T = areas(predicted & labelled), areas(predicted), areas(labelled)
    occurs = T > 0
    return {
        'intersection': I.sum(0),
        'predicted': P.sum(0),
        'labelled': T.sum(0),
        'area_error': jnp.abs(P - T).sum(0),
        'slices': occurs.sum(0),
        'slice_dice': jnp.where(occurs, 2 * I / jnp.where(occurs, P + T, 1), 0).sum(0),
    }


def segmentation_metrics(sums, tissues):
    """Dice and area error of each tissue; NaN for a tissue that the set does not have.

    Args:
      sums: of `segmentation_sums`, over the whole set, as numpy arrays.
      tissues: names of the labels 1, 2, ...

    Returns:
      {'dice_<tissue>': 2 I / (P + T) over the set,
       'slice_dice_<tissue>': mean of the Dice of the slices in which the tissue occurs,
       'area_error_percent_<tissue>': absolute differences of the areas of each slice over the
         labelled area}.
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        named = {
            'dice': 2 * sums['intersection'] / (sums['predicted'] + sums['labelled']),
            'slice_dice': sums['slice_dice'] / sums['slices'],
            'area_error_percent': 100 * sums['area_error'] / sums['labelled'],
        }
    occurs = sums['labelled'] > 0
    return {
        f'{name}_{tissue}': float(values[i]) if occurs[i] else float('nan')
        for name, values in named.items()
        for i, tissue in enumerate(tissues)
    }


def offset_sums(logits, batch, n, threshold):
    """The predicted offset of each slice of a set, as a sum over batches: each adds its own.

    Args:
      logits: `[B, L]` float32, offset / threshold.
      batch: 'index' `[B]`, where in the set the slices are, and 'weight' `[B]`, 1 or 0.
      n: slices in the set.
      threshold: mm.

    Returns:
      {'offset': `[n, L]` mm, 0 for the slices of other batches}.
    """
    own = jnp.where(batch['weight'][:, None] > 0, threshold * logits, 0)
    return {'offset': jnp.zeros((n, logits.shape[1])).at[batch['index']].add(own)}


def offset_metrics(sums, offsets, series, levels, threshold):
    """Errors in mm of each level: of the offsets of slices, and of the place found in a series.

    Args:
      sums: of `offset_sums`, over the whole set, as numpy arrays.
      offsets: `[N, L]` true offsets in mm.
      series: {name: indices of its slices}.
      levels: names of the L levels.
      threshold: mm.

    Returns:
      {'offset_error_mm_<level>': mean absolute error of slices less than `levels.USEFUL`
         thresholds away,
       'level_error_mm_<level>', 'level_error_median_mm_<level>': distance of the place found by
         `levels.find_level` from the true one, over the series that reach across the level,
       'level_within_10mm_<level>': share (0..1) of these series}; NaN where there is nothing.
    """
    found = {}
    for i, level in enumerate(levels):
        true, predicted = offsets[:, i], sums['offset'][:, i]
        useful = np.abs(true) < vertebrae.USEFUL * threshold
        errors = np.abs(predicted - true)[useful]
        # In positions relative to the level, the level is at 0.
        distances = np.array([
            abs(vertebrae.find_level(true[rows], predicted[rows], threshold))
            for rows in series.values()
            if true[rows].min() <= 0 <= true[rows].max()
        ])  # fmt: skip
        found |= {
            f'offset_error_mm_{level}': _of(np.mean, errors),
            f'level_error_mm_{level}': _of(np.mean, distances),
            f'level_error_median_mm_{level}': _of(np.median, distances),
            f'level_within_10mm_{level}': _of(np.mean, distances <= CLOSE),
        }
    return found


def _of(function, values):
    return float(function(values)) if len(values) else float('nan')
