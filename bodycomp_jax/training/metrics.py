"""What a validation says about a segmentation: Dice and area errors of each tissue."""

import jax.numpy as jnp
import numpy as np


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
