"""What a run may start from, and what a run that continues may change."""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from bodycomp_jax.checkpoints import folder, keras_network, store
from bodycomp_jax.checkpoints.network import Network, load_network, refuse_contradiction
from bodycomp_jax.config import (
    DenseNetConfig,
    TrainerConfig,
    UNetConfig,
    as_flag,
    from_json,
    from_values,
    to_json,
    to_values,
    with_preset,
    with_values,
)
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.runtime.files import free_bytes
from bodycomp_jax.runtime.processes import on_main_process

NONE: Mapping[str, Any] = MappingProxyType({})
MAX_UNSAVED_EPOCHS = 2  # written to metrics.csv before the first checkpoint is complete


def settled_config(
    run_dir: str, config: TrainerConfig, given: set[str], of_data: Mapping[str, Any] = NONE
) -> TrainerConfig:
    """The config with the options of a preset and of the data that the user did not give.

    Those of a run that continues are as it was started, perhaps by a version with other defaults.

    Args:
      run_dir: the folder of the run.
      config: as on the command line.
      given: names of the options that the user gave.
      of_data: {option: value} of those that the data determine.
    """
    started = on_main_process(_started_options)(run_dir, config.network.kind)
    determined = of_data if started is None else {name: started[name] for name in of_data}
    config = with_values(config, dict(determined), given)
    if started is None or 'preset' in given:
        return with_preset(config, given)
    of_presets = {'preset'}.union(*config.presets.values())
    return with_values(config, {name: started[name] for name in of_presets}, given)


def _started_options(run_dir: str, kind: str) -> dict[str, Any] | None:
    """{option: value} with which the run in this folder was started, None without a checkpoint.

    Raises InputError if it trains a network of another kind.
    """
    started = _read_latest_documents(run_dir)
    if started is None:
        return None
    found = to_json(from_json(started['config']))
    if found['network'] != kind:
        raise InputError(
            f'{run_dir}: the run in this folder trains a {found["network"]} network; give another '
            '--name'
        )
    return found


def load_pretrained(
    run_dir: str,
    config: TrainerConfig,
    given: set[str],
    warn: Callable[[str], None] = warnings.warn,
    of_data: Mapping[str, Any] = NONE,
) -> tuple[TrainerConfig, dict[str, Any] | None]:
    """The config and the initial variables, from the network at `config.load_weights`.

    Args:
      run_dir: the folder of the run; its own network takes precedence if it has a checkpoint.
      config: the hyper-parameters.
      given: names of the options that the user gave; the other options of the network are taken
        from the pretrained one.
      warn: see `load_network`.
      of_data: {option: value} of those that the data determine, whatever the weights.

    Returns:
      (the config, settled as by `settled_config`, the pretrained variables or None to draw them).

    Raises InputError if the weights cannot be read or are of another network.
    """
    config = settled_config(run_dir, config, given, of_data)
    values = to_values(config.network)
    wanted = {name: values[name] for name in values.keys() & given - of_data.keys()}
    options, variables = _read_pretrained(run_dir, config, wanted, warn)
    if options is None:
        return config, None
    network = from_values(
        type(config.network), options | wanted | {name: values[name] for name in of_data}
    )
    return dataclasses.replace(config, network=network), variables


@on_main_process
def _read_pretrained(
    run_dir: str, config: TrainerConfig, wanted: dict[str, Any], warn: Callable[[str], None]
) -> list:
    """[{option: value} of the network that the run starts from or continues, its variables].

    [None, None] if the run starts from random weights.
    """
    path, kind = config.load_weights, config.network.kind
    if path is None:
        return [None, None]
    started = _read_latest_documents(run_dir)
    if started is not None:
        return [to_values(from_json(started['config']).network), None]
    if os.path.isfile(path):  # options that a Keras file leaves open are those of the config
        determined = keras_network.read_options(path, kind)
        wanted = {
            n: v for n, v in to_values(config.network).items() if n not in determined
        } | wanted
        network = load_network(path, wanted, kind, warn)
    else:
        network = _adapted(path, load_network(path, None, kind, warn), wanted)
        refuse_contradiction(path, network, wanted)
    return [to_values(network.config), network.variables]


def _adapted(path: str, network: Network, wanted: dict[str, Any]) -> Network:
    """The network with the levels or the pixel shuffle that are wanted."""
    match network.config:
        case DenseNetConfig() if 'levels' in wanted:
            return _with_levels(path, network, wanted['levels'])
        case UNetConfig(pixel_shuffle=1) as config if wanted.get('pixel_shuffle', 1) != 1:
            return _with_pixel_shuffle(network, _finer(path, config, wanted))
    return network


def _with_levels(path: str, network: Network, levels: list[str]) -> Network:
    """The network with the outputs of some of its levels. Raises InputError for other levels."""
    known = to_values(network.config)['levels']
    unknown = [level for level in levels if level not in known]
    if unknown:
        raise InputError(
            f'{path}: this network knows the levels {listed(known)}, not {listed(unknown)}; give '
            'some of them as --levels'
        )
    outputs = [known.index(level) for level in levels]
    params = network.variables['params']
    dense = {name: array[..., outputs] for name, array in params['dense'].items()}
    return network._replace(
        config=dataclasses.replace(network.config, levels=tuple(levels)),
        variables={**network.variables, 'params': {**params, 'dense': dense}},
    )


def _finer(path: str, config: UNetConfig, wanted: dict[str, Any]) -> UNetConfig:
    """The options of a network that resizes, with the pixel shuffle and as many times the size.

    Raises InputError for a network that does not resize, and if another size is wanted.
    """
    shuffle, size = wanted['pixel_shuffle'], config.network_size
    flag = as_flag('pixel_shuffle', shuffle)
    if not size:
        raise InputError(
            f'{path}: {flag} starts from a network that was trained with --network_size, for finer '
            'pixels than it had; this one takes slices as they are'
        )
    if wanted.get('network_size', shuffle * size) != shuffle * size:
        raise InputError(
            f'{path}: with {flag}, this network of {as_flag("network_size", size)} becomes one of '
            f'{as_flag("network_size", shuffle * size)}, not '
            f'{as_flag("network_size", wanted["network_size"])}; leave --network_size out'
        )
    return dataclasses.replace(config, pixel_shuffle=shuffle, network_size=shuffle * size)


def _with_pixel_shuffle(network: Network, config: UNetConfig) -> Network:
    """The network with these options, which takes several pixels where it took one.

    For pixels inside the window, it says of each what it said of their mean.
    """
    params, pixels = network.variables['params'], config.pixel_shuffle**2
    first = 'compression_0' if config.decompression_channels else 'compression_center'
    kernel = params[first]['conv_0']['kernel'].repeat(pixels, axis=2) / pixels
    final = {name: np.concatenate([of] * pixels, -1) for name, of in params['final_conv'].items()}
    spread = {first: {**params[first], 'conv_0': {'kernel': kernel}}, 'final_conv': final}
    return network._replace(
        config=config, variables={**network.variables, 'params': params | spread}
    )


@on_main_process
def refuse_config_change(run_dir: str, config: TrainerConfig) -> None:
    """Raises InputError if the run in this folder was started with other hyper-parameters.

    `config.epochs` may be more than the run was started with.
    """
    fields, wanted = _started_options(run_dir, config.network.kind), to_json(config)
    if fields is None:
        return
    for name, value in fields.items():
        if name != 'epochs' and value != wanted[name]:
            raise InputError(
                f'{run_dir}: this run was started with {as_flag(name, value)}, not '
                f'{as_flag(name, wanted[name])}; give the same value to continue it, or another '
                '--name to start a new run'
            )
    if config.epochs < fields['epochs']:
        raise InputError(
            f'{run_dir}: this run was started with --epochs={fields["epochs"]}, which may be '
            f'raised but not lowered to {config.epochs}; give another --name to start a new run'
        )


@on_main_process
def refuse_data_change(run_dir: str, fingerprints: dict[str, Any]) -> None:
    """Raises InputError if the run in this folder was started on other data.

    Args:
      run_dir: the folder of the run.
      fingerprints: {split: {array: {property: value}}}; properties that an older version did not
        record are not compared.
    """
    started = _read_latest_documents(run_dir)
    if started is None:
        return
    for split, arrays in fingerprints.items():
        recorded = started['progress']['data'].get(split, {})
        if recorded and recorded.keys() != arrays.keys():
            raise _other_data(
                run_dir, f'{split} data', 'it', ' and '.join(recorded), ' and '.join(arrays)
            )
        for array, fingerprint in arrays.items():
            for name, value in fingerprint.items():
                was = recorded.get(array, {}).get(name, value)
                if was != value:
                    raise _other_data(run_dir, f'{split} {array}', name, was, value)


def _other_data(run_dir: str, what: str, name: str, was: Any, value: Any) -> InputError:
    return InputError(
        f'{run_dir}: this run was started on other {what}: {name} was {was} and is {value}; give '
        'the same data, another --name, or --allow_data_change'
    )


@on_main_process
def refuse_lost_checkpoints(run_dir: str) -> None:
    """Raises InputError if a run has results but no checkpoint, and would begin again."""
    if folder.list_checkpoints(run_dir):
        return
    final_model = os.path.join(run_dir, folder.FINAL_MODEL)
    has_model, epochs = os.path.lexists(final_model), _epochs_in_metrics(run_dir)
    killed_early = epochs <= MAX_UNSAVED_EPOCHS and os.path.isdir(folder.checkpoints_dir(run_dir))
    if has_model or (epochs and not killed_early):
        results = final_model if has_model else os.path.join(run_dir, folder.METRICS)
        start = f', or --load_weights={final_model} to start from its weights' if has_model else ''
        raise InputError(
            f'{run_dir}: the checkpoints of this run are missing, and training would begin again '
            f'and replace {results}; restore the folder checkpoints, or give another --name{start}'
        )


@on_main_process
def refuse_small_disk(run_dir: str, state: Any, log_bytes: int) -> None:
    """Raises InputError if checkpoints of such a state and `log_bytes` do not fit on the disk."""
    needed = store.MAX_ON_DISK * sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + log_bytes
    free = free_bytes(run_dir)
    if free + folder.bytes_on_disk(run_dir) < needed:
        raise InputError(
            f'{run_dir}: the checkpoints and figures of this run need about '
            f'{needed / 1e6:,.1f} MB, but only {free / 1e6:,.1f} MB are free; free some '
            'space or choose another output folder'
        )


def _read_latest_documents(run_dir: str) -> dict[str, Any] | None:
    """{'config', 'progress'} of the latest checkpoint whose documents are valid, or None."""
    for checkpoint in folder.list_checkpoints(run_dir):
        with contextlib.suppress(folder.CorruptCheckpointError):
            return store.read(checkpoint, 'config', 'progress')
    return None


def _epochs_in_metrics(run_dir: str) -> int:
    """Number of epochs in metrics.csv; 0 if there is none."""
    try:
        with open(os.path.join(run_dir, folder.METRICS), 'rb') as file:
            return max(0, sum(1 for _ in file) - 1)
    except FileNotFoundError:
        return 0
