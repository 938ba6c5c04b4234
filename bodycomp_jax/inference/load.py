"""Trained networks from disk, ready to predict."""

import os
from typing import Any

import jax

from bodycomp_jax.checkpoints.network import load_network
from bodycomp_jax.config import DenseNetConfig, UNetConfig
from bodycomp_jax.inference.predictors import Segmenter, SliceSelector
from bodycomp_jax.runtime.devices import compute_dtype, refuse_no_device

PREDICTORS = {UNetConfig.kind: Segmenter, DenseNetConfig.kind: SliceSelector}


def load_model(path: str | os.PathLike, **overrides: Any) -> Segmenter | SliceSelector:
    """Loads a trained network for prediction.

    Args:
      path: a run folder (its `final_model`, else its best valid checkpoint), a checkpoint, a
        `final_model` folder or a Keras file.
      overrides: options that a Keras file leaves open, such as activation='elu',
        threshold=10.0 or levels=('L3', 'L1'); must agree with what the file determines.

    Returns:
      A function of HU slices: a `Segmenter` (tissue probabilities and labels) or a
      `SliceSelector` (offsets in mm from vertebral levels).

    Raises InputError if there is no valid network or no device, and for a network that
    contradicts `overrides`; RunError if its files cannot be read now.
    """
    refuse_no_device()
    config, variables, precision = load_network(os.fspath(path), overrides)
    dtype = compute_dtype(precision, jax.local_devices())
    return PREDICTORS[config.kind](config, variables, dtype)
