"""The losses: sums over the batch, then one division."""

import jax
import jax.numpy as jnp

SMOOTH = 1.0  # pixels; keeps the Dice of a tissue that does not occur defined


def segmentation_sums(logits, batch):
    """What the Dice and the cross-entropy are made of, summed over all pixels of the batch.

    Args:
      logits: `[B, H, W, C]` float32, class 0 the background.
      batch: 'mask' `[B, H, W]` integer labels and 'weight' `[B]`.

    Returns:
      {'intersection', 'probability', 'label': `[C - 1]`, one entry a tissue; 'cross_entropy',
      'pixels': scalars}, float32.
    """
    C = logits.shape[-1]
    weight = batch['weight'][:, None, None]
    mask = batch['mask'].astype(jnp.int32)
    log_p = jax.nn.log_softmax(logits)
    p = jnp.exp(log_p)
    is_label = [mask == c for c in range(C)]

    def total(x):  # row by row, then slice by slice: sums of many numbers keep their precision
        return (x * weight).sum(2).sum(1).sum(0)

    def of_tissues(x):
        return jnp.stack([total(x(c)) for c in range(1, C)])

    return {
        'intersection': of_tissues(lambda c: jnp.where(is_label[c], p[..., c], 0)),
        'probability': of_tissues(lambda c: p[..., c]),
        'label': of_tissues(lambda c: is_label[c].astype(jnp.float32)),
        'cross_entropy': -sum(
            total(jnp.where(is_label[c], log_p[..., c], 0)) for c in range(C)
        ),
        'pixels': total(jnp.ones(mask.shape)),
    }  # fmt: skip


def dice(sums):
    """Minus the sum of the soft Dice of each tissue; -3 is perfect for three tissues.

    (2 I + 1) / (P + T + 1) with I, P, T from `segmentation_sums`, after Milletari et al. 2016.
    """
    overlap = 2 * sums['intersection'] + SMOOTH
    return -(overlap / (sums['probability'] + sums['label'] + SMOOTH)).sum()


def dice_ce(sums):
    """`dice` plus the mean cross-entropy over pixels, after Isensee et al. 2021 (nnU-Net)."""
    return dice(sums) + sums['cross_entropy'] / sums['pixels']


def offset_sums(logits, batch, threshold):
    """Errors of predicted offsets, after the sigmoid, summed over the batch and the levels.

    Args:
      logits: `[B, L]` float32, offset / threshold.
      batch: 'offset' `[B, L]` mm and 'weight' `[B]`.
      threshold: mm.

    Returns:
      {'absolute_error', 'values'}: scalars, float32.
    """
    weight = batch['weight'][:, None]
    errors = jnp.abs(jax.nn.sigmoid(logits) - jax.nn.sigmoid(batch['offset'] / threshold))
    return {
        'absolute_error': jnp.where(weight > 0, errors, 0).sum(),
        'values': (weight * jnp.ones_like(errors)).sum(),
    }


def mean_absolute_error(sums):
    """Between the sigmoids of predicted and true offset / threshold; 0 is perfect, 0.5 chance."""
    return sums['absolute_error'] / sums['values']
