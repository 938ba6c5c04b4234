"""The networks that come with the package, trained on synthetic slices alone.

Each is a `final_model` with kernels of half precision, and the document `account`: how it was made.
"""

import os
import pathlib
from typing import Any

import jax
import numpy as np

from bodycomp_jax.config import TRAINERS
from bodycomp_jax.errors import InputError

NAME = 'synthetic'
NETWORKS = pathlib.Path(__file__).parents[1] / 'networks'
ACCOUNT = 'account'


def resolved(path: str, kind: str | None) -> str:
    """The path of a network: of a shipped one for `synthetic/KIND`, or `synthetic` of this kind.

    A path that exists goes before. Raises InputError where the package comes without the network.
    """
    name, _, named = path.partition('/')
    if name != NAME or named not in ('', *TRAINERS) or os.path.lexists(path):
        return path
    kind = named or kind
    if kind is None:
        choices = ' or '.join(f'{NAME}/{each}' for each in TRAINERS)
        raise InputError(f'{path}: which network is not known; give {choices}')
    folder = NETWORKS / kind
    if not folder.is_dir():
        raise InputError(
            f'{path}: this package comes without a {kind} network; train one '
            f'(bin/train_{kind}.py MODEL_OUTPUT_DIR --synthetic) and give the folder of its run'
        )
    return str(folder)


def stored_dtype(model: str, leaf: Any) -> np.dtype:
    """The type in which the folder of a model has an array of its network."""
    is_half = leaf.ndim > 1 and os.path.isdir(os.path.join(model, ACCOUNT))
    return np.dtype(np.float16 if is_half else np.float32)


def as_stored(model: str, shapes: Any) -> Any:
    """Shapes of arrays, with the types in which the folder of a model has them."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, stored_dtype(model, leaf)), shapes
    )
