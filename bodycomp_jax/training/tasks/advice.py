"""What the epochs so far say about a training, and what to try."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]

WINDOW = 10  # epochs that are judged
MISSED = 0.01  # Dice below which a tissue is not found
STUCK, POOR = 0.01, 0.8  # relative change of the loss on a plateau; Dice of a poor tissue
DICE_GAP = 0.3  # between training and validation, in the mean over the tissues
ERROR_RATIO = 3.0  # of the error in validation to that in training


def segmentation_advice(history: Sequence[Row], tissues: Sequence[str]) -> dict[str, str]:
    """{what: a sentence with what to try} about the last `WINDOW` epochs.

    Args:
      history: the row of each epoch, with the soft Dice loss and 'dice_<tissue>'.
      tissues: that are labelled.
    """
    if len(history) < WINDOW:
        return {}
    recent = history[-WINDOW:]
    dice = {t: [row.get(f'dice_{t}', math.nan) for row in recent] for t in tissues}
    missed = [t for t in tissues if all(value < MISSED for value in dice[t])]
    poor = [t for t in tissues if t not in missed and max(dice[t]) < POOR]
    advice = {}
    if missed:
        advice['missed'] = (
            f'no pixel of {_names(missed)} is found in {WINDOW} epochs; look at its labels, then '
            'try --loss=dice_ce, or another --learning_rate'
        )
    if poor and _is_plateau([row['train_loss'] for row in recent]):
        advice['plateau'] = (
            f'the loss has stopped falling, with a Dice below {POOR} for {_names(poor)}; try '
            '--loss=dice_ce, another --learning_rate or another --seed'
        )
    gap = [row['val_loss'] - row['train_loss'] for row in recent]
    if np.median(gap) > DICE_GAP * len(tissues):
        advice['overfit'] = (
            'validation is far behind training; try --augmentation=strong, or more training data'
        )
    return advice


def slice_selection_advice(history: Sequence[Row]) -> dict[str, str]:
    """{what: a sentence with what to try} about the last `WINDOW` epochs."""
    if len(history) < WINDOW:
        return {}
    train, val = (
        np.array([row[name] for row in history[-WINDOW:]]) for name in ('train_loss', 'val_loss')
    )
    if not np.median(val) > ERROR_RATIO * np.median(train):
        return {}
    return {
        'overfit': 'validation is far behind training; try --augmentation=strong, or more series'
    }


def _is_plateau(losses: Sequence[float]) -> bool:
    """Whether the mean of the second half differs little from that of the first."""
    first, second = np.mean(np.reshape(losses, (2, -1)), axis=1)
    return bool(abs(second - first) < STUCK * abs(first))


def _names(tissues: Sequence[str]) -> str:
    return ' and '.join(tissue.replace('_', ' ') for tissue in tissues)
