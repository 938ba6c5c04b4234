"""Segmentation metrics: areas per slice, Dice and area errors per set."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bodycomp_jax import ct


def tissue_areas(logits: jax.Array, masks: jax.Array) -> dict[str, jax.Array]:
    """Areas in pixels of each tissue in each slice, of its labelled pixels alone.

    Args:
      logits: `[B, H, W, C]`, class 0 the background.
      masks: `[B, H, W]` integer labels; `ct.NOT_LABELLED` leaves a pixel out.

    Returns:
      {'intersection', 'predicted', 'labelled'}: `[B, C - 1]` integers.
    """
    prediction = jnp.where(masks == ct.NOT_LABELLED, 0, logits.argmax(-1))[..., None]
    tissues = jnp.arange(1, logits.shape[-1]).reshape(1, 1, 1, -1)
    predicted, labelled = prediction == tissues, masks[..., None] == tissues
    return {
        'intersection': (predicted & labelled).sum((1, 2)),
        'predicted': predicted.sum((1, 2)),
        'labelled': labelled.sum((1, 2)),
    }


def summarize_tissues(areas: dict[str, np.ndarray], *, tissues: Sequence[str]) -> dict[str, float]:
    """Dice and area error of each tissue; NaN for a tissue that does not occur in the set.

    Args:
      areas: of `tissue_areas`, over a whole set: `[N, C - 1]` numpy arrays.
      tissues: names of the labels 1, 2, ...

    Returns:
      {'dice_<tissue>': 2 I / (P + T), with I, P, T summed over the set,
       'slice_dice_<tissue>': mean of 2 I / (P + T) over the slices in which the tissue occurs,
       'area_error_percent_<tissue>': sum of |P - T| over the slices, in percent of the sum of T}.
    """
    I, P, T = (areas[name].astype(float) for name in ('intersection', 'predicted', 'labelled'))
    occurs = T > 0
    with np.errstate(divide='ignore', invalid='ignore'):
        slice_dice = np.where(occurs, 2 * I / (P + T), 0)
        metrics = {
            'dice': 2 * I.sum(0) / (P + T).sum(0),
            'slice_dice': slice_dice.sum(0) / occurs.sum(0),
            'area_error_percent': 100 * np.abs(P - T).sum(0) / T.sum(0),
        }
    return {
        f'{name}_{tissue}': float(values[i]) if occurs[:, i].any() else float('nan')
        for name, values in metrics.items()
        for i, tissue in enumerate(tissues)
    }
