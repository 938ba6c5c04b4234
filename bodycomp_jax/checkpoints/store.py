"""Checkpoints on disk (Orbax), whose arrays and documents have checksums.

A checkpoint has the items `variables` (what prediction needs) and `training` (what continuing
needs besides), and the JSON documents `config`, `progress` and `checksums`. A `final_model` has
`variables`, `config` and `checksums`.
"""

import contextlib
import json
import math
import os
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as managers

from bodycomp_jax.checkpoints.folder import (
    CorruptCheckpointError,
    OtherArraysError,
    checkpoints_dir,
    first_line,
    list_checkpoints,
    reason,
    refuse_unreadable,
    refuse_unsafe_files,
    step_of,
)
from bodycomp_jax.errors import InputError, RunError

LATEST_TO_KEEP = 2  # checkpoints; the best is kept as well
MAX_ON_DISK = LATEST_TO_KEEP + 3  # also the best, the one being written, and the final model
BEST_METRIC = 'val_loss'  # lower is better
TRIAL = '.trial'
LATE_CALLBACK = 'Event loop is closed'
HEADER_BYTES = 4096  # per array in the headers of an item; Orbax writes some 400
SPECIAL = re.compile(r'[][*?\\]|[^\x00-\ud7ff\ue000-\U0010ffff]')  # the last: bytes not in UTF-8

Shapes = Any  # a pytree of arrays or of jax.ShapeDtypeStruct


def read(folder: str, *documents: str, arrays: dict[str, Shapes] | None = None) -> dict[str, Any]:
    """Reads items of a checkpoint and verifies their checksums.

    Args:
      folder: of the checkpoint.
      documents: names of JSON items; 'checksums' are those of all, also of what is not read.
      arrays: {item: the expected structure and shapes}.

    Returns:
      {name of each item and document: its value}, arrays as numpy arrays.

    Raises CorruptCheckpointError; OtherArraysError, before anything large is read, if the arrays
    are not the expected ones; RunError if the files cannot be read now.
    """
    arrays = arrays or {}
    wanted: dict[str, Any] = {
        item: ocp.args.StandardRestore(jax.tree.map(_empty_like, like))
        for item, like in arrays.items()
    }
    wanted |= {name: ocp.args.JsonRestore() for name in (*documents, 'checksums')}
    with _checkpointer() as checkpointer, _literal_path(folder) as path:
        try:
            refuse_unsafe_files(folder)
            for item, like in arrays.items():
                _refuse_other_arrays(os.path.join(path, item), like)
            items = checkpointer.restore(path, args=ocp.args.Composite(**wanted))
            found = {name: items[name] for name in (*arrays, *documents)}
            expected = items['checksums']
            checked = {name: value for name, value in found.items() if name != 'checksums'}
            wrong = [name for name, crc in checksums(checked).items() if expected[name] != crc]
        except CorruptCheckpointError:
            raise
        except Exception as error:  # Orbax and its JSON raise errors of many kinds
            _ignore_late_callbacks()
            refuse_unreadable(folder, error)
            raise CorruptCheckpointError(first_line(error)) from error
    if wrong:
        raise CorruptCheckpointError(f'{wrong[0]} does not match its checksum')
    return found


def write(folder: str, **items: Any) -> None:
    """Writes a checkpoint that must not exist yet: arrays and JSON documents by name."""
    _ignore_late_callbacks()
    parent, name = os.path.split(os.path.abspath(folder))
    with _checkpointer() as checkpointer, _literal_path(parent) as path:
        checkpointer.save(os.path.join(path, name), args=save_args(items))


def ranked(run_dir: str, warn: Callable[[str], None]) -> list[str]:
    """The checkpoints of finished epochs with a finite validation loss, the best first.

    `warn` is told of those whose history is corrupt.
    """
    losses = []
    for folder in list_checkpoints(run_dir):
        try:
            loss = _val_loss(folder)
        except CorruptCheckpointError as error:
            warn(f'{folder} is corrupt ({error})')
            continue
        if loss is not None and math.isfinite(loss):
            losses.append((loss, folder))
    return [folder for _, folder in sorted(losses)]


def _val_loss(folder: str) -> float | None:
    """The validation loss of a checkpoint that ends an epoch; None for any other."""
    progress = read(folder, 'progress')['progress']
    try:
        row = (progress['history'] or [{}])[-1]
        return float(row[BEST_METRIC]) if row.get('step') == step_of(folder) else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptCheckpointError('its history is not that of a training') from error


def refuse_unsuitable_disk(run_dir: str) -> None:
    """Raises InputError unless a small checkpoint can be written in a run and read back."""
    trial = os.path.join(checkpoints_dir(run_dir), TRIAL)
    shutil.rmtree(trial, ignore_errors=True)
    values = {'variables': {'values': np.arange(8.0, dtype=np.float32)}}
    try:
        os.makedirs(os.path.dirname(trial), exist_ok=True)
        write(trial, **values)
        read(trial, arrays=values)
    except Exception as error:  # of many kinds
        raise InputError(
            f'{run_dir}: no checkpoint can be saved and read in this folder ({reason(error)}); '
            'if nothing else helps, choose another output folder'
        ) from error
    finally:
        shutil.rmtree(trial, ignore_errors=True)


@contextlib.contextmanager
def open_manager(run_dir: str) -> Iterator[ocp.CheckpointManager]:
    """Saves checkpoints of a run, keeps the latest and the best, and removes unfinished saves."""
    _ignore_late_callbacks()
    folder = checkpoints_dir(run_dir)
    os.makedirs(folder, exist_ok=True)
    policy = managers.AnyPreservationPolicy(
        [
            managers.LatestN(LATEST_TO_KEEP),
            managers.BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        best_fn=_score,
        cleanup_tmp_directories=True,
        create=False,
        multiprocessing_options=_this_process(),
    )
    with _literal_path(folder) as path:
        try:
            manager = _Manager(path, options=options)
        except RunError:
            raise
        except Exception as error:  # of many kinds
            raise RunError(
                f'{folder}: the checkpoints in this folder cannot be opened ({reason(error)}); if '
                'one is damaged, move it to another folder and run the same command again'
            ) from error
        with manager:
            yield manager


class _Manager(ocp.CheckpointManager):
    """Ranks the checkpoints of earlier processes by their histories, which have checksums.

    Orbax ranks them by a copy of the metrics, which may be damaged.
    """

    def metrics(self, step: int) -> dict[str, float] | None:
        try:
            loss = _val_loss(os.path.join(self.directory, str(step)))
        except CorruptCheckpointError:
            return None
        return None if loss is None else {BEST_METRIC: loss}


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


@contextlib.contextmanager
def _literal_path(folder: str) -> Iterator[str]:
    """A path of a folder for Orbax, which takes brackets for a pattern and a backslash for /."""
    folder = os.path.abspath(folder)
    if not SPECIAL.search(folder):
        yield folder
        return
    parent = tempfile.gettempdir()
    if SPECIAL.search(parent):  # TMPDIR has brackets as well
        parent = '/tmp'
    with tempfile.TemporaryDirectory(prefix='bodycomp_', dir=parent) as temporary:
        link = os.path.join(temporary, 'folder')
        os.symlink(folder, link)
        yield link


def _refuse_other_arrays(item: str, like: Shapes) -> None:
    """Raises OtherArraysError unless the headers of an item describe such arrays.

    Orbax would allocate what they describe.
    """
    expected, header = _by_name(like), os.path.join(item, '_METADATA')
    if os.path.getsize(header) > HEADER_BYTES * (1 + len(expected)):
        raise OtherArraysError(f'{header} describes more than {len(expected)} arrays')
    found = _by_name(ocp.StandardCheckpointHandler().metadata(epath.Path(item)).tree)
    differs = expected.keys() ^ found.keys()
    if differs:
        where = 'missing' if min(differs) in expected else 'not expected'
        raise OtherArraysError(f'the array {min(differs)} is {where}')
    for name, leaf in expected.items():
        shape, chunk = found[name].shape, found[name].storage.chunk_shape
        if shape != leaf.shape or math.prod(chunk) > math.prod(shape):
            raise OtherArraysError(
                f'the array {name} has shape {shape} in chunks of {chunk}, expected {leaf.shape}'
            )


def _by_name(arrays: Any) -> dict[str, Any]:
    """{path in the tree: leaf}; named tuples are saved as dicts."""
    return {
        jax.tree_util.keystr(path, simple=True, separator='/'): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)
    }


def _ignore_late_callbacks() -> None:
    """After an error threads of Orbax call into an event loop that is closed already."""
    print_error = sys.unraisablehook
    if getattr(print_error, 'ignores', None) == LATE_CALLBACK:
        return

    def print_other_errors(unraisable: Any) -> None:
        if LATE_CALLBACK not in str(unraisable.exc_value):
            print_error(unraisable)

    print_other_errors.ignores = LATE_CALLBACK  # type: ignore[attr-defined]
    sys.unraisablehook = print_other_errors


def _is_arrays(value: Any) -> bool:
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(hasattr(leaf, 'dtype') for leaf in leaves)


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
