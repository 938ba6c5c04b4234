"""The networks that come with the package, trained on synthetic slices alone.

Each is a `final_model` whose kernels have 16 bits a weight, with the steps that these count, and
the document `account`: how it was made.
"""

import os
import pathlib
from typing import Any

import jax
import numpy as np

from bodycomp_jax.config import SHIPPED, TRAINERS, names_shipped
from bodycomp_jax.errors import InputError

NETWORKS = pathlib.Path(__file__).parents[1] / 'networks'
STEPS = 'steps'  # the item beside 'variables'
LARGEST = np.float32(32767)  # int16
TINY = np.float32(1e-30)  # the step of a channel of zeros


def resolved(path: str, kind: str | None) -> str:
    """The path of a network: of a shipped one for `synthetic/KIND`, or `synthetic` of this kind.

    Other paths stay as they are. Raises InputError where the package comes without the network.
    """
    if not names_shipped(path):
        return path
    kind = path.partition('/')[2] or kind
    if kind is None:
        choices = ' or '.join(f'{SHIPPED}/{each}' for each in TRAINERS)
        raise InputError(f'{path}: which network is not known; give {choices}')
    folder = NETWORKS / kind
    if not folder.is_dir():
        raise InputError(
            f'{path}: this package comes without a {kind} network; train one '
            f'(bin/train_{kind}.py MODEL_OUTPUT_DIR --synthetic) and give the folder of its run'
        )
    return str(folder)


def is_shipped(model: str) -> bool:
    """Whether the folder of a model has the weights of a shipped network."""
    return os.path.isdir(os.path.join(model, STEPS))


def packed(variables: Any) -> dict[str, Any]:
    """{item: arrays} as which variables are stored.

    Kernels are whole multiples of a step, one for each output channel; vectors are as they are.
    """
    steps = {
        _name(path): np.maximum(np.abs(leaf).max(tuple(range(leaf.ndim - 1))) / LARGEST, TINY)
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables)
        if leaf.ndim > 1
    }

    def pack(path: Any, leaf: np.ndarray) -> np.ndarray:
        step = steps.get(_name(path))
        return leaf if step is None else np.rint(leaf / step).astype(np.int16)

    return {'variables': jax.tree_util.tree_map_with_path(pack, variables), STEPS: steps}


def unpacked(items: dict[str, Any]) -> Any:
    """The way back of `packed`."""
    steps = items[STEPS]

    def unpack(path: Any, leaf: np.ndarray) -> np.ndarray:
        step = steps.get(_name(path))
        return leaf if step is None else leaf * step

    return jax.tree_util.tree_map_with_path(unpack, items['variables'])


def packed_shapes(shapes: Any) -> dict[str, Any]:
    """The shapes and types of `packed` variables of these shapes."""
    return {
        'variables': jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, np.int16 if len(leaf.shape) > 1 else np.float32
            ),
            shapes,
        ),
        STEPS: {
            _name(path): jax.ShapeDtypeStruct(leaf.shape[-1:], np.float32)
            for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
            if len(leaf.shape) > 1
        },
    }


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator='.')
