"""What the epochs so far say about a training, and what to try."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.config import SegmentationConfig, SliceSelectionConfig, TrainerConfig

Row = dict[str, Any]

WINDOW = 10  # epochs that are judged
MISSED = 0.01  # Dice below which a tissue is not found
STUCK, POOR = 0.01, 0.8  # relative change of the loss on a plateau; Dice of a poor tissue
DICE_GAP = 0.3  # of the loss between training and validation, for each tissue
ERROR_RATIO = 3.0  # of the error in validation to that in training
POWER = {'mae': 1, 'cross_entropy': 2}  # of the error in each loss, about


def segmentation_advice(history: Sequence[Row], config: SegmentationConfig) -> dict[str, str]:
    """{what: a sentence with what to try} about the last `WINDOW` epochs.

    Args:
      history: the row of each epoch, with the losses and 'dice_<tissue>'.
      config: of the training; what it already has is not advised.
    """
    if len(history) < WINDOW:
        return {}
    recent, tissues = history[-WINDOW:], config.network.tissues
    dice = {t: [row.get(f'dice_{t}', math.nan) for row in recent] for t in tissues}
    missed = [t for t in tissues if all(value < MISSED for value in dice[t])]
    poor = [t for t in tissues if t not in missed and max(dice[t]) < POOR]
    advice = {}
    if missed:
        advice['missed'] = (
            f'no pixel of {_names(missed)} is found in {WINDOW} epochs; look at its labels, then '
            f'try {_other_loss(config)}another --learning_rate or another --seed'
        )
    if poor and _is_plateau([row['train_loss'] for row in recent]):
        advice['plateau'] = (
            f'the loss has stopped falling, with a Dice below {POOR} for {_names(poor)}; try '
            f'{_other_loss(config)}another --learning_rate or another --seed'
        )
    gap = [row['val_loss'] - row['train_loss'] for row in recent]
    if np.median(gap) > DICE_GAP * len(tissues):
        advice['overfit'] = _of_overfitting(config, 'slices of more patients')
    return advice


def slice_selection_advice(history: Sequence[Row], config: SliceSelectionConfig) -> dict[str, str]:
    """{what: a sentence with what to try} about the last `WINDOW` epochs."""
    if len(history) < WINDOW:
        return {}
    train, val = (
        np.array([row[name] for row in history[-WINDOW:]]) for name in ('train_loss', 'val_loss')
    )
    if not np.median(val) > ERROR_RATIO ** POWER[config.loss] * np.median(train):
        return {}
    return {'overfit': _of_overfitting(config, 'more series')}


def _other_loss(config: SegmentationConfig) -> str:
    return '' if config.loss == 'dice_ce' else '--loss=dice_ce, '


def _of_overfitting(config: TrainerConfig, more: str) -> str:
    is_strong = config.augmentation.augmentation == 'strong'
    augmentation = '' if is_strong else '--augmentation=strong or '
    return f'validation is far behind training; try {augmentation}{more}'


def _is_plateau(losses: Sequence[float]) -> bool:
    """Whether the mean of the second half differs little from that of the first."""
    first, second = np.mean(np.reshape(losses, (2, -1)), axis=1)
    return bool(abs(second - first) < STUCK * abs(first))


def _names(tissues: Sequence[str]) -> str:
    return ' and '.join(ct.spaced(tissue) for tissue in tissues)
