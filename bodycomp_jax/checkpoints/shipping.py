"""Makes a shipped network of a run."""

import os
import pathlib
import shutil
import tempfile
from typing import Any

import jax
import numpy as np

from bodycomp_jax.checkpoints import folder, shipped, store
from bodycomp_jax.checkpoints.network import fingerprint
from bodycomp_jax.config import (
    TRAINERS,
    TrainerConfig,
    as_flag,
    from_json,
    from_values,
    names_shipped,
    to_json,
    to_values,
    with_preset,
)
from bodycomp_jax.errors import InputError
from bodycomp_jax.models.build import variable_shapes
from bodycomp_jax.runtime.json_files import read_json_object

MAX_BYTES = 12_000_000  # of all shipped networks


def ship(path: str, networks: pathlib.Path = shipped.NETWORKS) -> str:
    """Writes the network of a run as the shipped one of its kind, in place of another.

    Args:
      path: the folder of a finished run on synthetic slices alone, from random weights or from
        those of the shipped network; or one of the checkpoints of such a run, finished or not.
      networks: the folder of the shipped networks.

    Returns:
      The folder of the network.

    Raises InputError for another run, for weights that are not finite, and for networks that are
    too large together.
    """
    run_dir, model, step = _run_of(path)
    config, variables = _read(model)
    args = read_json_object(os.path.join(run_dir, 'args.json'))
    target = networks / config.network.kind
    account: dict[str, Any] = {
        'seed': config.seed,
        'command': _command(config),
        'device': args.get('device_kind'),
        'versions': args.get('versions'),
        **step,
    }
    if config.load_weights is not None:
        account['started_from'] = _account_of_start(target, args.get('started_from'))
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables)):
        raise InputError(f'{path}: non-finite weights; train it again')
    networks.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.new_', dir=networks) as temporary:
        new = os.path.join(temporary, 'new')
        store.write(new, **shipped.packed(variables), config=to_json(config), account=account)
        _empty_markers(new)
        others = [networks / kind for kind in TRAINERS if kind != config.network.kind]
        _refuse_large(pathlib.Path(new), *others)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(new, target)
    return str(target)


def _run_of(path: str) -> tuple[str, str, dict[str, int]]:
    """Returns the folder of a run, the network in it, and the step of a checkpoint."""
    path = os.path.abspath(path)
    run_dir = os.path.dirname(os.path.dirname(path))
    if path in folder.list_checkpoints(run_dir):
        return run_dir, path, {'step': folder.step_of(path)}
    return path, os.path.join(path, folder.FINAL_MODEL), {}


def _read(model: str) -> tuple[TrainerConfig, Any]:
    """The config and the variables of a network that has seen synthetic slices alone."""
    try:
        config = from_json(store.read(model, 'config')['config'])
        shapes = variable_shapes(config.network)
        variables = store.read(model, arrays={'variables': shapes})['variables']
    except folder.CorruptCheckpointError as error:
        raise InputError(
            f'{model}: {error}; give the folder of a finished run, or one of its checkpoints'
        ) from error
    starts_shipped = config.load_weights is None or names_shipped(config.load_weights)
    if not config.synthetic or not starts_shipped:
        raise InputError(
            f'{model}: trained with {as_flag("synthetic", config.synthetic)} and '
            f'{as_flag("load_weights", config.load_weights)}; only networks that have seen '
            'synthetic slices alone are shipped'
        )
    return config, variables


def _account_of_start(shipped_now: pathlib.Path, started_from: str | None) -> dict[str, Any]:
    """The account of the shipped network, from which a run started.

    Raises InputError if it started from another.
    """
    if started_from is None:
        raise InputError(
            f'{shipped_now}: the run does not say from which version of it it started; train again'
        )
    if not shipped_now.is_dir() or fingerprint(str(shipped_now)) != started_from:
        raise InputError(
            f'{shipped_now}: the run started from the network {started_from}, which is not here; '
            'check out the version that comes with it'
        )
    try:
        account = store.read(str(shipped_now), 'account')['account']
    except folder.CorruptCheckpointError as error:
        raise InputError(f'{shipped_now}: {error}; check it out again') from error
    return {'fingerprint': started_from, **account}


def _command(config: TrainerConfig) -> str:
    """The command of a training, without the flags that have their defaults with any preset."""
    values = to_values(config)

    def with_defaults(*given: str) -> dict[str, Any]:
        fields = {name: values[name] for name in given}
        return to_values(with_preset(from_values(type(config), fields), set(given)))

    start = ('load_weights', 'synthetic')
    defaults = with_defaults(), with_defaults(*start), with_defaults(*start, 'preset')
    flags = [
        as_flag(name, value)
        for name, value in values.items()
        if any(value != each[name] for each in defaults)
    ]
    return ' '.join([f'bin/train_{config.network.kind}.py', 'MODEL_OUTPUT_DIR', *flags])


def _empty_markers(model: str) -> None:
    """Orbax marks what is complete by files that name the folder in which they were written."""
    for marker in pathlib.Path(model).rglob('commit_success.txt'):
        marker.write_text('')


def _refuse_large(*folders: pathlib.Path) -> None:
    sizes = [
        sum(os.path.getsize(path) for path in folder.files(str(each)))
        for each in folders
        if each.is_dir()
    ]
    if sum(sizes) > MAX_BYTES:
        megabytes = ' and '.join(f'{size / 1e6:.1f}' for size in sizes)
        raise InputError(
            f'{megabytes} MB are more than {MAX_BYTES / 1e6:.0f} MB of all networks; use fewer '
            'channels'
        )
