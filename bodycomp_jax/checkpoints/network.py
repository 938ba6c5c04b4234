"""The network that a path names: of a run, a checkpoint, a Keras file or the package."""

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from bodycomp_jax.checkpoints import folder, keras_network, shipped, store
from bodycomp_jax.config import (
    TRAINERS,
    NetworkConfig,
    TrainerConfig,
    UNetConfig,
    as_flag,
    contradiction,
    from_json,
    from_values,
    refuse_unknown,
    to_json,
    to_values,
)
from bodycomp_jax.errors import InputError, RunError, listed
from bodycomp_jax.models.build import variable_shapes
from bodycomp_jax.runtime import files

OF_KERAS_3 = ('.keras', '.weights.h5')  # endings of other files than those of Keras 2


class Network(NamedTuple):
    """A network on disk.

    Attributes:
      config: its options.
      variables: {'params', 'batch_stats'}, on the host.
      training: the options of its training; None of a Keras file.
    """

    config: NetworkConfig
    variables: dict[str, Any]
    training: TrainerConfig | None

    @property
    def precision(self) -> str:
        """Of the arithmetic that it was trained with."""
        return 'auto' if self.training is None else self.training.precision


def load_network(
    path: str,
    overrides: dict[str, Any] | None = None,
    kind: str | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Network:
    """Loads the network that a path names.

    Args:
      path: a run folder (its `final_model`, else its best valid checkpoint), a checkpoint, a
        `final_model` folder, a Keras file or, as `synthetic/KIND`, a shipped network.
      overrides: {option: value} for what a Keras file leaves open; must agree with what the file
        determines.
      kind: of the network that is required, if any.
      warn: is told if another network of a run is loaded than its `final_model`.

    Raises InputError if there is no valid network, or another than is required; RunError if its
    files cannot be read now.
    """
    overrides = overrides or {}
    path = shipped.resolved(os.fspath(path), kind)
    if os.path.isfile(path):
        config, variables = keras_network.read(path, overrides, kind)
        return Network(config, variables, None)
    try:
        network = _load_folder(os.path.abspath(path), warn)
    except OSError as error:
        raise RunError(files.explained(error)) from error
    if kind not in (None, network.config.kind):
        raise InputError(
            f'{path}: a {network.config.kind} network; give the path of a {kind} network'
        )
    refuse_contradiction(path, network, overrides)
    return network


def refuse_contradiction(path: str, network: Network, overrides: dict[str, Any]) -> None:
    """Raises InputError if {option: value} are not those of the network of this path."""
    refuse_unknown(path, type(network.config), overrides)
    message = contradiction(to_values(network.config), overrides)
    if message:
        raise InputError(f'{path}: {message}; give the same value')


def fingerprint(path: str, kind: str | None = None) -> str:
    """Identifies the network that a path names, without reading its weights.

    Raises InputError if there is none; RunError if its files cannot be read now.
    """
    path = shipped.resolved(path, kind)
    if os.path.isfile(path):
        return files.fingerprint(path)
    path = os.path.abspath(path)
    corrupt: dict[str, folder.CorruptCheckpointError] = {}
    try:
        for model in _models_in(path, lambda message: None):
            try:
                sums = store.read(model, 'checksums')['checksums']
            except folder.CorruptCheckpointError as error:
                corrupt[model] = error
                continue
            of_network = {
                n: crc for n, crc in sums.items() if n.startswith(('variables', 'steps', 'config'))
            }
            text = json.dumps(of_network, sort_keys=True)
            return hashlib.sha256(text.encode()).hexdigest()[: files.HASH_DIGITS]
    except OSError as error:
        raise RunError(files.explained(error)) from error
    raise _no_model(path, corrupt)


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
    parent = os.path.dirname(target)
    if os.path.lexists(target):
        raise InputError(f'{target} exists; remove it or choose another path')
    files.refuse_unwritable(parent)
    network = load_network(source, overrides)
    as_keras = not os.path.isfile(source)
    config = network.config
    if as_keras:
        if target.endswith(OF_KERAS_3):
            raise InputError(
                f'{target}: the file is of Keras 2, but {listed(OF_KERAS_3)} are formats of Keras '
                '3; name it .hdf5'
            )
        _refuse_beyond_keras(source, config)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(network.variables)):
        raise InputError(f'{source}: non-finite weights; choose an earlier checkpoint of its run')
    try:
        with (
            _made_folder(parent),
            tempfile.TemporaryDirectory(prefix='.converted_', dir=parent) as temporary,
        ):
            new = os.path.join(temporary, 'new')
            _write(new, network, as_keras=as_keras)
            os.rename(new, target)
    except Exception as error:  # Orbax raises many kinds of errors
        raise RunError(
            f'{target}: cannot be written ({folder.reason(error)}); run the same command again'
        ) from error
    return config


@contextlib.contextmanager
def _made_folder(parent: str) -> Iterator[None]:
    """Makes a folder for the block; if that fails, removes what was made."""
    existing, made = files.existing_folder(parent), []
    while parent != existing:
        made.append(parent)
        parent = os.path.dirname(parent)
    try:
        for each in reversed(made):
            os.makedirs(each, exist_ok=True)
        yield
    except BaseException:
        for each in made:
            with contextlib.suppress(OSError):  # not empty: another program writes there
                os.rmdir(each)
        raise


def _refuse_beyond_keras(source: str, config: NetworkConfig) -> None:
    """Raises InputError for a network that the reference system cannot compute."""
    if not isinstance(config, UNetConfig):
        return
    for what, option, value, plain in (
        ('resizes slices', 'network_size', config.network_size, 0),
        ('takes several pixels as one', 'pixel_shuffle', config.pixel_shuffle, 1),
    ):
        if value != plain:
            raise InputError(
                f'{source}: this network {what} ({as_flag(option, value)}), which the reference '
                f'system cannot; convert one that was trained without --{option}'
            )


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


def _load_folder(path: str, warn: Callable[[str], None]) -> Network:
    """The first valid network in a folder: the final model, the best, the latest checkpoint.

    `warn` is told of the networks before it that are corrupt or missing.
    """
    corrupt: dict[str, folder.CorruptCheckpointError] = {}
    for model in _models_in(path, warn):
        try:
            network = _read_network(model)
        except folder.CorruptCheckpointError as error:
            corrupt[model] = error
            continue
        if corrupt:
            warn(
                f'{model} is loaded, as a better one is corrupt ({folder.causes(corrupt)}); the '
                'command of the training writes final_model again'
            )
        elif model not in (path, os.path.join(path, folder.FINAL_MODEL)):
            warn(f'{path} has no {folder.FINAL_MODEL} yet; {model} is loaded, its best so far')
        return network
    raise _no_model(path, corrupt)


def _no_model(path: str, corrupt: dict[str, folder.CorruptCheckpointError]) -> InputError:
    if corrupt:
        found = f'no valid model found ({folder.causes(corrupt)}); copy it again, or'
    else:
        found = 'no model found;' if os.path.lexists(path) else 'there is no such file or folder;'
    return InputError(
        f'{path}: {found} give the folder of a run, one of its checkpoints (checkpoints/<step>), '
        'its final_model or a Keras file'
    )


def _models_in(path: str, warn: Callable[[str], None]) -> Iterator[str]:
    """The models that a path names, corrupt or not, the preferred first."""
    for model in (path, os.path.join(path, folder.FINAL_MODEL)):
        if folder.is_model(model):
            yield model
    best = store.ranked(path, warn)
    yield from best
    yield from (each for each in folder.list_checkpoints(path) if each not in best)


def _read_network(model: str) -> Network:
    try:
        config = from_json(store.read(model, 'config')['config'])
    except InputError as error:
        raise folder.CorruptCheckpointError(f'its config: {error}') from error
    shapes = variable_shapes(config.network)
    if shipped.is_shipped(model):
        variables = shipped.unpacked(store.read(model, arrays=shipped.packed_shapes(shapes)))
    else:
        variables = store.read(model, arrays={'variables': shapes})['variables']
    return Network(config.network, variables, config)
