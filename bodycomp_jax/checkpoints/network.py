"""The network that a path names: a run, a checkpoint, a final model or a Keras file."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from bodycomp_jax.checkpoints import keras_network, store
from bodycomp_jax.config import (
    TRAINERS,
    NetworkConfig,
    contradiction,
    from_json,
    from_values,
    refuse_unknown,
    to_json,
    to_values,
)
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.models.build import variable_shapes
from bodycomp_jax.runtime import files


class Network(NamedTuple):
    """A network on disk.

    Attributes:
      config: its options.
      variables: {'params', 'batch_stats'}, on the host.
      precision: of the arithmetic that it was trained with.
    """

    config: NetworkConfig
    variables: dict[str, Any]
    precision: str


def load_network(
    path: str, overrides: dict[str, Any] | None = None, kind: str | None = None
) -> Network:
    """Loads the network that a path names.

    Args:
      path: a run folder (its `final_model`, else its latest valid checkpoint), a checkpoint, a
        `final_model` folder or a Keras file.
      overrides: {option: value} for what a Keras file leaves open; must agree with what the file
        determines.
      kind: of the network that is required, if any.

    Raises InputError if there is no valid network, or another than is required.
    """
    overrides = overrides or {}
    if os.path.isfile(path):
        config, variables = keras_network.read(path, overrides, kind)
        return Network(config, variables, 'auto')
    network = _load_folder(os.path.abspath(path))
    if kind not in (None, network.config.kind):
        raise InputError(f'{path}: a {network.config.kind} network; expected a {kind} network')
    if overrides:
        refuse_unknown(path, type(network.config), overrides)
        message = contradiction(to_values(network.config), overrides)
        if message:
            raise InputError(f'{path}: {message}; give the same value')
    return network


def convert(source: str, target: str, overrides: dict[str, Any]) -> NetworkConfig:
    """Writes a `final_model` folder from a Keras file, otherwise a Keras weights file.

    Args:
      source, overrides: see `load_network`.
      target: the file or folder to write; must not exist.

    Returns:
      The config of the network.

    Raises InputError as `load_network`, and if the target exists or is in no folder where this
    user can write; RunError if it cannot be written or what was written is not what was read.
    """
    target = os.path.abspath(target)
    folder = os.path.dirname(target)
    if os.path.lexists(target):
        raise InputError(f'{target} exists; remove it or choose another path')
    files.refuse_unwritable(folder)
    network = load_network(source, overrides)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(network.variables)):
        raise InputError(f'{source}: non-finite weights; choose an earlier checkpoint of its run')
    try:
        with (
            _folder(folder),
            tempfile.TemporaryDirectory(prefix='.converted_', dir=folder) as temporary,
        ):
            new = os.path.join(temporary, 'new')
            _write(new, network, as_keras=not os.path.isfile(source))
            os.rename(new, target)
    except OSError as error:
        raise RunError(f'{target}: cannot be written ({files.explained(error, "")})') from error
    except Exception as error:  # Orbax raises many kinds of errors
        raise RunError(
            f'{target}: cannot be written ({store.first_line(error)}); check the disk and its free '
            'space and run the same command again'
        ) from error
    return network.config


@contextlib.contextmanager
def _folder(folder: str) -> Iterator[None]:
    """A folder that exists during the block; what was made for it is removed if the block fails."""
    existing, made = files.existing_folder(folder), []
    while folder != existing:
        made.append(folder)
        folder = os.path.dirname(folder)
    try:
        for each in reversed(made):
            os.makedirs(each, exist_ok=True)
        yield
    except BaseException:
        for each in made:
            with contextlib.suppress(OSError):  # not empty: another program writes there
                os.rmdir(each)
        raise


def _write(path: str, network: Network, as_keras: bool) -> None:
    """Writes a network and reads it back. Raises errors of many kinds."""
    config, variables, _ = network
    if as_keras:
        keras_network.write(path, config, variables)
        _, found = keras_network.read(path, {})
    else:
        fields = to_json(from_values(TRAINERS[config.kind], to_values(config)))
        store.write(path, variables=variables, config=fields)
        found = _read_network(path).variables
    if store.checksums({'variables': found}) != store.checksums({'variables': variables}):
        raise ValueError('what was written is not what is read back')


def _load_folder(path: str) -> Network:
    """The first valid network in a folder, the final model before the latest checkpoint."""
    corrupt = {}
    for folder in store.models_in(path):
        try:
            return _read_network(folder)
        except store.CorruptCheckpointError as error:
            corrupt[folder] = error
    raise InputError(
        f'{path}: no {"valid " if corrupt else ""}model found'
        f'{f" ({store.listed(corrupt)})" if corrupt else ""}; give the folder of a run, one of its '
        'checkpoints (checkpoints/<step>), its final_model or a Keras file'
    )


def _read_network(folder: str) -> Network:
    items = store.read(folder, 'config', arrays={'variables': None})
    config = from_json(items['config'])
    variables = {'batch_stats': {}, **items['variables']}
    expected = variable_shapes(config.network)
    if jax.tree.map(lambda x: x.shape, variables) != jax.tree.map(lambda x: x.shape, expected):
        raise store.CorruptCheckpointError('its weights do not fit its config')
    return Network(config.network, variables, config.precision)
