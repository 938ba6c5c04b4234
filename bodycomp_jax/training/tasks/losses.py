"""The losses: sums over the batch, then one division."""

import functools

import jax
import jax.numpy as jnp

from bodycomp_jax import ct

SMOOTH = 1.0  # pixels; keeps the Dice of a tissue that does not occur defined


def segmentation_sums(logits: jax.Array, masks: jax.Array) -> dict[str, jax.Array]:
    """The terms of Dice and cross-entropy, summed over all labelled pixels of the batch.

    Args:
      logits: `[..., C]` float32, class 0 the background, of pixels in any order.
      masks: `[...]` integer labels of the same pixels; `ct.NOT_LABELLED` leaves a pixel out.

    Returns:
      {'intersection', 'probability', 'label': `[C - 1]`, an entry per tissue;
       'cross_entropy', 'pixels': scalars}, float32.
    """
    C = logits.shape[-1]
    log_p = _log_softmax([logits[..., c] for c in range(C)])
    masks = masks.astype(jnp.int32)
    is_label = [masks == c for c in range(C)]
    is_labelled = masks != ct.NOT_LABELLED
    p = [jnp.where(is_labelled, jnp.exp(each), 0) for each in log_p]

    def total(x):  # axis by axis: sums of many numbers keep their precision
        while x.ndim:
            x = x.sum(-1)
        return x

    def of_tissues(x):
        return jnp.stack([total(x(c)) for c in range(1, C)])

    return {
        'intersection': of_tissues(lambda c: jnp.where(is_label[c], p[c], 0)),
        'probability': of_tissues(lambda c: p[c]),
        'label': of_tissues(lambda c: is_label[c].astype(jnp.float32)),
        'cross_entropy': -sum(total(jnp.where(is_label[c], log_p[c], 0)) for c in range(C)),
        'pixels': total(is_labelled.astype(jnp.float32)),
    }


def _log_softmax(logits: list[jax.Array]) -> list[jax.Array]:
    """Of each class. Class by class: along an axis of a few, a GPU makes more passes."""
    largest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, logits))
    log_total = largest + jnp.log(sum(jnp.exp(each - largest) for each in logits))
    return [each - log_total for each in logits]


def dice_loss(sums: dict[str, jax.Array]) -> jax.Array:
    """Minus the sum of the soft Dice of each tissue; -3 is perfect for three tissues.

    (2 I + 1) / (P + T + 1) with I, P, T from `segmentation_sums`, after Milletari et al. 2016.
    """
    overlap = 2 * sums['intersection'] + SMOOTH
    return -(overlap / (sums['probability'] + sums['label'] + SMOOTH)).sum()


def dice_ce_loss(sums: dict[str, jax.Array]) -> jax.Array:
    """`dice_loss` plus the mean cross-entropy over pixels, after Isensee et al. 2021 (nnU-Net).

    A batch without a labelled pixel has no cross-entropy.
    """
    return dice_loss(sums) + sums['cross_entropy'] / jnp.maximum(sums['pixels'], 1)


def offset_sums(logits: jax.Array, offsets: jax.Array, threshold: float) -> dict[str, jax.Array]:
    """Errors of the predicted offsets after the sigmoid, summed over the batch and the levels.

    Args:
      logits: `[B, L]` float32, offset / threshold.
      offsets: `[B, L]` true offsets in mm.
      threshold: mm.

    Returns:
      {'absolute_error', 'divergence', 'values'}: scalars, float32.
    """
    true = offsets / threshold
    above = jax.nn.sigmoid(true)
    errors = jnp.abs(jax.nn.sigmoid(logits) - above)
    # log(p / q) of both sides of the level.
    of_above, of_below = (
        jax.nn.log_sigmoid(side * true) - jax.nn.log_sigmoid(side * logits) for side in (1, -1)
    )
    return {
        'absolute_error': errors.sum(),
        'divergence': (above * of_above + (1 - above) * of_below).sum(),
        'values': jnp.ones_like(errors).sum(),
    }


def mean_absolute_error(sums: dict[str, jax.Array]) -> jax.Array:
    """Between the sigmoids of predicted and true offset / threshold; 0 is perfect, 0.5 chance."""
    return sums['absolute_error'] / sums['values']


def mean_divergence(sums: dict[str, jax.Array]) -> jax.Array:
    """Kullback-Leibler divergence of the sigmoids of true and predicted offset / threshold.

    0 is perfect. It is the cross-entropy less that of the true ones with themselves, which has the
    same gradient: unlike the absolute error it pulls where a network is sure and wrong.
    """
    return sums['divergence'] / sums['values']
