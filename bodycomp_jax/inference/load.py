"""Trained networks from disk, ready to predict."""

import os
from collections.abc import Sequence
from typing import Any

import jax

from bodycomp_jax.checkpoints import network
from bodycomp_jax.config import DenseNetConfig, UNetConfig
from bodycomp_jax.errors import InputError
from bodycomp_jax.inference.predictors import Segmenter, SliceSelector
from bodycomp_jax.runtime.devices import (
    compute_dtype,
    refuse_no_device,
    without_strict_modes,
)

PREDICTORS = {UNetConfig.kind: Segmenter, DenseNetConfig.kind: SliceSelector}


def load_model(
    path: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    kind: str | None = None,
    test_time_flip: bool = False,
    all_devices: bool = False,
    **overrides: Any,
) -> Segmenter | SliceSelector:
    """Loads a trained network, or several that predict together, for prediction.

    Args:
      path: a run folder (its `final_model`, else its best valid checkpoint), a checkpoint, a
        `final_model` folder, a Keras file, or 'synthetic/segmentation' or
        'synthetic/slice_selection', which come with the package. Several, as a list or separated by
        commas, predict the mean of their probabilities or offsets, as the networks of a
        cross-validation do.
      kind: of the network that is wanted, 'segmentation' or 'slice_selection'; 'synthetic' then
        says which.
      test_time_flip: whether a segmentation network also predicts the slices mirrored left to
        right, in twice the time, and averages both.
      all_devices: whether batches are spread over all devices, not computed on one.
      overrides: options that a Keras file leaves open, such as activation='elu',
        threshold=10.0 or levels=('L3', 'L1'); must agree with what the file determines.

    Returns:
      A function of HU slices: a `Segmenter` (tissue probabilities and labels) or a
      `SliceSelector` (offsets in mm from vertebral levels).

    Raises InputError if there is no valid network or no device, for a network that contradicts
    `overrides`, and for networks that cannot predict together; RunError if files cannot be read
    now.
    """
    refuse_no_device()
    with without_strict_modes():
        networks = [network.load_network(each, overrides, kind) for each in paths_of(path)]
        kind = networks[0].config.kind
        if any(each.config.kind != kind for each in networks):
            raise InputError(f'{path}: networks of different kinds; load each kind alone')
        if test_time_flip and kind == DenseNetConfig.kind:
            raise InputError(
                f'{path}: test_time_flip does not apply to a slice-selection network, to which a '
                'mirrored slice may be another level'
            )
        devices = jax.local_devices()
        dtypes = [compute_dtype(each.precision, devices) for each in networks]
        dtype = max(dtypes, key=lambda each: each.itemsize)  # the most precise of all
        members: Any = [(each.config, each.variables) for each in networks]
        options: dict[str, Any] = {'test_time_flip': True} if test_time_flip else {}
        options |= {'devices': devices} if all_devices else {}
        return PREDICTORS[kind](members, dtype, **options)


def fingerprint(path: str, kind: str | None = None) -> str:
    """Identifies the networks that a path of `load_model` names, without loading them.

    Raises InputError if there is none; RunError if files cannot be read now.
    """
    refuse_no_device()
    return ','.join(network.fingerprint(each, kind) for each in paths_of(path))


def paths_of(path: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str]:
    """The path of each network; a comma is a part of a path that exists."""
    if not isinstance(path, str | os.PathLike):
        paths = [os.fspath(each) for each in path]
        if not paths:
            raise InputError('no path of a network is given; give at least one')
        return paths
    text = os.fspath(path)
    return [text] if os.path.lexists(text) else text.split(',')


def short_names(paths: Sequence[str]) -> list[str]:
    """The ends of paths, as short as they may be to differ."""
    split = [os.path.abspath(path).removesuffix('/final_model').split(os.sep) for path in paths]
    most = max(map(len, split), default=1)
    for count in range(1, most + 1):
        names = [os.sep.join(parts[-count:]) for parts in split]
        if len({*names}) == len(names):
            return names
    return list(paths)
