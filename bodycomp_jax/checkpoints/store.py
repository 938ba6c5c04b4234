"""Checkpoint folders on disk (Orbax), whose arrays and documents have checksums.

A checkpoint has the items `variables` (what prediction needs) and `training` (what continuing
needs besides), and the JSON documents `config`, `progress` and `checksums`. A `final_model` has
`variables`, `config` and `checksums`.
"""

import json
import math
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from bodycomp_jax.errors import RunError

LATEST_TO_KEEP = 2  # checkpoints; the best is kept as well
MAX_ON_DISK = LATEST_TO_KEEP + 3  # also the best, the one being written, and the final model
BEST_METRIC = 'val_loss'  # lower is better
FINAL_MODEL = 'final_model'


class CorruptCheckpointError(Exception):
    """A checkpoint on disk that is incomplete, unreadable or not what was saved."""


def list_checkpoints(run_dir: str) -> list[str]:
    """The folders of the checkpoints of a run, newest first; unfinished saves are left out."""
    folder = checkpoints_dir(run_dir)
    if not os.path.isdir(folder):
        return []
    steps = sorted(int(name) for name in os.listdir(folder) if re.fullmatch(r'\d+', name))
    return [os.path.join(folder, str(step)) for step in reversed(steps)]


def checkpoints_dir(run_dir: str) -> str:
    """The folder of all checkpoints of a run."""
    return os.path.join(os.path.abspath(run_dir), 'checkpoints')


def step_of(checkpoint: str) -> int:
    """The training step at which a checkpoint was saved."""
    return int(os.path.basename(checkpoint))


def models_in(path: str) -> Iterator[str]:
    """The models that a path names, corrupt or not: itself, a final model, then checkpoints."""
    for folder in (path, os.path.join(path, FINAL_MODEL)):
        if os.path.isdir(os.path.join(folder, 'variables')):
            yield folder
    yield from list_checkpoints(path)


def bytes_on_disk(run_dir: str) -> int:
    """Size of the checkpoints and the final model of a run."""
    tops = checkpoints_dir(run_dir), os.path.join(run_dir, FINAL_MODEL)
    return sum(
        os.path.getsize(os.path.join(folder, name))
        for top in tops
        for folder, _, names in os.walk(top)
        for name in names
    )


def read(folder: str, *documents: str, arrays: dict[str, Any] | None = None) -> dict[str, Any]:
    """Reads items of a checkpoint and verifies their checksums.

    Args:
      folder: of the checkpoint.
      documents: names of JSON items.
      arrays: {item: pytree of arrays with the expected structure and shapes, or None for nested
        dicts as they were saved}.

    Returns:
      {name of each item and document: its value}, arrays as numpy arrays.

    Raises CorruptCheckpointError.
    """
    arrays = arrays or {}
    wanted: dict[str, Any] = {
        item: ocp.args.StandardRestore(like and jax.tree.map(_empty_like, like))
        for item, like in arrays.items()
    }
    wanted |= {name: ocp.args.JsonRestore() for name in (*documents, 'checksums')}
    try:
        with _checkpointer() as checkpointer:
            items = checkpointer.restore(folder, args=ocp.args.Composite(**wanted))
        found = {name: items[name] for name in (*arrays, *documents)}
        expected = items['checksums']
        wrong = [name for name, crc in checksums(found).items() if expected[name] != crc]
    except Exception as error:  # Orbax and its JSON raise errors of many kinds
        raise CorruptCheckpointError(first_line(error)) from error
    if wrong:
        raise CorruptCheckpointError(f'{wrong[0]} does not match its checksum')
    return found


def write(folder: str, **items: Any) -> None:
    """Writes a checkpoint that must not exist yet: arrays and JSON documents by name."""
    with _checkpointer() as checkpointer:
        checkpointer.save(folder, args=save_args(items))


def write_final_model(run_dir: str, variables: Any, config_fields: dict[str, Any]) -> None:
    """Replaces the final model of a run; between two renames it is missing, never incomplete.

    Raises RunError if it cannot be written.
    """
    final_model = os.path.join(run_dir, FINAL_MODEL)
    new, old = f'{final_model}.new', f'{final_model}.old'
    _remove_leftovers(final_model)
    try:
        write(new, variables=variables, config=config_fields)
    except Exception as error:  # of many kinds
        _remove_leftovers(final_model)
        raise RunError(
            f'{final_model}: could not be written ({first_line(error)}); free some space and run '
            'the same command again'
        ) from error
    if os.path.exists(final_model):
        os.rename(final_model, old)
    os.rename(new, final_model)
    _remove_leftovers(final_model)


def set_aside(checkpoint: str) -> str:
    """Moves a corrupt checkpoint into `corrupt_checkpoints` of its run; returns its new path."""
    run_dir = os.path.dirname(os.path.dirname(checkpoint))
    aside = os.path.join(run_dir, 'corrupt_checkpoints', os.path.basename(checkpoint))
    os.makedirs(os.path.dirname(aside), exist_ok=True)
    path, n = aside, 1
    while os.path.exists(path):
        path, n = f'{aside}_{n}', n + 1
    os.rename(checkpoint, path)
    return path


def open_manager(run_dir: str) -> ocp.CheckpointManager:
    """Saves checkpoints of a run, keeps the latest and the best, and removes unfinished saves."""
    folder = checkpoints_dir(run_dir)
    os.makedirs(folder, exist_ok=True)
    policy = managers.AnyPreservationPolicy(
        [
            managers.LatestN(LATEST_TO_KEEP),
            managers.BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False),
        ]
    )
    return ocp.CheckpointManager(
        folder,
        options=ocp.CheckpointManagerOptions(
            preservation_policy=policy,
            best_fn=_score,
            cleanup_tmp_directories=True,
            create=False,
            multiprocessing_options=_this_process(),
        ),
    )


def save_args(items: dict[str, Any]) -> ocp.args.Composite:
    """Orbax's description of items to save, pytrees of arrays or JSON, with their checksums."""
    documents = {'checksums': checksums(items)}
    documents |= {name: value for name, value in items.items() if not _is_arrays(value)}
    arrays = {name: value for name, value in items.items() if _is_arrays(value)}
    return ocp.args.Composite(
        **{name: ocp.args.StandardSave(tree) for name, tree in arrays.items()},
        **{name: ocp.args.JsonSave(values) for name, values in documents.items()},
    )


def checksums(items: dict[str, Any]) -> dict[str, int]:
    """{name: CRC-32} of each array and each document."""
    sums = {}
    for item, value in items.items():
        if _is_arrays(value):
            for path, leaf in jax.tree_util.tree_leaves_with_path(value):
                name = f'{item}{jax.tree_util.keystr(path)}'
                sums[name] = zlib.crc32(np.ascontiguousarray(leaf).data)
        else:
            sums[item] = zlib.crc32(json.dumps(value, sort_keys=True).encode())
    return sums


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def listed(errors: dict[str, CorruptCheckpointError]) -> str:
    """{checkpoint: what is wrong with it} as text."""
    return '; '.join(f'{folder}: {error}' for folder, error in errors.items())


def _is_arrays(value: Any) -> bool:
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(hasattr(leaf, 'dtype') for leaf in leaves)


def _remove_leftovers(final_model: str) -> None:
    """Removes what an interrupted replacement left."""
    folder, name = os.path.split(final_model)
    for other in os.listdir(folder):
        if other.startswith(f'{name}.'):
            shutil.rmtree(os.path.join(folder, other), ignore_errors=True)


def _score(metrics: dict[str, float]) -> float:
    """Higher is better; a loss that is not finite is worse than any other."""
    loss = metrics[BEST_METRIC]
    return -loss if math.isfinite(loss) else -math.inf


def _checkpointer() -> ocp.Checkpointer:
    options = ocp.CompositeOptions(multiprocessing_options=_this_process())
    return ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(composite_options=options),
        multiprocessing_options=_this_process(),
    )


def _this_process() -> ocp.options.MultiprocessingOptions:
    """Makes Orbax wait for no other process of the job."""
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f'process_{index}'
    )


def _empty_like(leaf: Any) -> np.ndarray:
    return np.empty(leaf.shape, leaf.dtype)
