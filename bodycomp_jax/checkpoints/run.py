"""The checkpoints of a run, and what a run that continues may change."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any

import jax
from flax import serialization

from bodycomp_jax.checkpoints import keras_network, store
from bodycomp_jax.checkpoints.network import load_network
from bodycomp_jax.config import TrainerConfig, as_flag, from_json, from_values, to_json, to_values
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.runtime.files import free_bytes
from bodycomp_jax.runtime.job import is_main_process
from bodycomp_jax.runtime.processes import on_main_process


class RunCheckpoints:
    """The checkpoints of one run, saved in the background while training goes on.

    A failed save does not end the training: it is reported by `warn`, and the next save tries
    again. Every process of a job calls every method; only the main process reads and writes, as
    all processes hold the same state.
    """

    def __init__(self, run_dir: str, config: TrainerConfig, warn: Callable[[str], None]):
        self._run_dir = os.path.abspath(run_dir)
        self._config = to_json(config)
        self._warn = warn
        self._manager: Any = None
        self._failure: Exception | None = None  # of the latest save

    def __enter__(self) -> 'RunCheckpoints':
        return self

    def __exit__(self, *_: object) -> None:
        error = self._close()
        if error is not None and self._failure is None:
            self._warn_of(error)

    def restore(self, state: Any) -> tuple[Any, dict[str, Any] | None]:
        """The state and progress of the latest valid checkpoint; `(state, None)` if there is none.

        Newer checkpoints that are corrupt are moved to `corrupt_checkpoints`.

        Args:
          state: a `TrainState` on the host, of the expected structure and shapes.

        Raises RunError if there are checkpoints but none is valid; then nothing is moved.
        """
        fields, progress = self._restore_fields(state)
        return serialization.from_state_dict(state, fields), progress

    @on_main_process
    def _restore_fields(self, state: Any) -> list:
        like = {'variables': state.variables, 'training': _training_item(state)}
        progress, corrupt = None, {}
        for folder in store.list_checkpoints(self._run_dir):
            try:
                items = store.read(folder, 'progress', 'config', arrays=like)
            except store.CorruptCheckpointError as error:
                corrupt[folder] = error
                continue
            state = state.replace(**items['variables'], **items['training'])
            progress = items['progress']
            break
        if corrupt and progress is None:
            raise RunError(
                f'{self._run_dir}: no checkpoint of this run is valid ({store.listed(corrupt)}). '
                'Restore one from a backup, or give another --name to start again'
            )
        for folder, reason in corrupt.items():
            self._warn(f'{folder} is corrupt ({reason}); moved to {store.set_aside(folder)}')
        self._open()
        return [serialization.to_state_dict(state), progress]

    def save(self, state: Any, progress: dict[str, Any]) -> None:
        """Starts to save; returns before the save is done.

        Args:
          state: a `TrainState`, the same in every process.
          progress: plain JSON values; 'history' has a row of numbers per finished epoch.
        """
        if not is_main_process():
            return
        state = jax.device_get(state)
        error = self._start_save(state, progress)
        if error is not None:  # usually of the previous save, which Orbax reports here
            self._warn_of(error)
            self._open()
            error = self._start_save(state, progress)
        self._failure = error

    @on_main_process
    def finish(self) -> None:
        """Waits for the save in flight. Raises RunError if the latest save failed."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # of many kinds
            self._failure = error
        if self._failure is not None:
            raise RunError(
                f'{self._run_dir}: the last checkpoint could not be saved '
                f'({store.first_line(self._failure)}); free some space and run the same command '
                'again'
            )

    @on_main_process
    def export_best(self) -> list:
        """Writes the weights of the best valid checkpoint to `final_model`, if it has others.

        Returns:
          [folder of the final model, step of the best checkpoint].

        Raises RunError without a valid checkpoint with a finite validation loss, or without
        space.
        """
        best = self._read_best()
        if best is None:
            raise RunError(
                f'{self._run_dir}: no checkpoint with a finite validation loss to export; start '
                'again with a lower --learning_rate'
            )
        folder, variables = best
        final_model = os.path.join(self._run_dir, store.FINAL_MODEL)
        if not _holds(final_model, variables):
            store.write_final_model(self._run_dir, variables, self._config)
        return [final_model, store.step_of(folder)]

    def _read_best(self) -> tuple[str, Any] | None:
        """(folder, variables) of the valid checkpoint with the best validation loss."""
        epochs = []
        for folder in store.list_checkpoints(self._run_dir):
            row = _last_row(self._read_or_warn(folder, 'progress') or {})
            if row.get('step') == store.step_of(folder) and math.isfinite(row[store.BEST_METRIC]):
                epochs.append((row[store.BEST_METRIC], folder))
        for _, folder in sorted(epochs):
            variables = self._read_or_warn(folder, variables=None)
            if variables is not None:
                return folder, variables
        return None

    def _read_or_warn(self, folder: str, *documents: str, **arrays: None) -> Any:
        """One item of a checkpoint; None, with a warning, if it is corrupt."""
        try:
            (item,) = store.read(folder, *documents, arrays=arrays).values()
        except store.CorruptCheckpointError as error:
            self._warn(f'{folder} is corrupt ({error})')
            return None
        return item

    def _start_save(self, state: Any, progress: dict[str, Any]) -> Exception | None:
        """Starts to save; returns the error of this or of the previous save, if any."""
        row, step = _last_row(progress), int(state.step)
        items = {
            'variables': state.variables,
            'training': _training_item(state),
            'config': self._config,
            'progress': progress,
        }
        metrics = {store.BEST_METRIC: row[store.BEST_METRIC]} if row.get('step') == step else None
        try:
            if step in self._manager.all_steps():  # the same weights, before their validation
                self._manager.delete(step)
            self._manager.save(step, args=store.save_args(items), metrics=metrics, force=True)
        except Exception as error:  # of many kinds
            return error
        return None

    def _open(self) -> None:
        self._close()
        self._manager = store.open_manager(self._run_dir)

    def _close(self) -> Exception | None:
        """Waits for the save in flight; returns its error, if any."""
        manager, self._manager = self._manager, None
        try:
            if manager is not None:
                manager.close()
        except Exception as error:  # of many kinds
            return error
        return None

    def _warn_of(self, error: Exception) -> None:
        self._warn(
            f'a checkpoint could not be saved in {self._run_dir} ({store.first_line(error)}); '
            'earlier checkpoints are kept, training continues, and the next save will retry'
        )


def load_pretrained(
    run_dir: str, config: TrainerConfig, given: set[str]
) -> tuple[TrainerConfig, dict[str, Any] | None]:
    """The config and the initial variables, from the network at `config.load_weights`.

    Args:
      run_dir: the folder of the run; its own network takes precedence if it has a checkpoint.
      config: the hyper-parameters.
      given: names of the options that the user gave; the other options of the network are taken
        from the pretrained one.

    Returns:
      (the config, the pretrained variables or None to draw them).

    Raises InputError if the weights cannot be read or are of another network.
    """
    wanted = {name: v for name, v in to_values(config.network).items() if name in given}
    options, variables = _read_pretrained(run_dir, config, wanted)
    if options is None:
        return config, None
    network = from_values(type(config.network), options | wanted)
    return dataclasses.replace(config, network=network), variables


@on_main_process
def _read_pretrained(run_dir: str, config: TrainerConfig, wanted: dict[str, Any]) -> list:
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
    network = load_network(path, wanted, kind)
    return [to_values(network.config), network.variables]


@on_main_process
def refuse_config_change(run_dir: str, config: TrainerConfig) -> None:
    """Raises InputError if the run in this folder was started with other hyper-parameters.

    `config.epochs` may be more than the run was started with.
    """
    started = _read_latest_documents(run_dir)
    if started is None:
        return
    fields, wanted = to_json(from_json(started['config'])), to_json(config)
    if fields['network'] != wanted['network']:
        raise InputError(
            f'{run_dir}: the run in this folder trains a {fields["network"]} network; give '
            'another --name'
        )
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
        for array, fingerprint in arrays.items():
            recorded = started['progress']['data'].get(split, {}).get(array, {})
            for name, value in fingerprint.items():
                if recorded.get(name, value) != value:
                    raise InputError(
                        f'{run_dir}: this run was started on other {split} {array}: {name} was '
                        f'{recorded[name]} and is {value}; give the same data, another --name, or '
                        '--allow_data_change'
                    )


@on_main_process
def refuse_small_disk(run_dir: str, state: Any, log_bytes: int) -> None:
    """Raises InputError if checkpoints of such a state and `log_bytes` do not fit on the disk."""
    needed = store.MAX_ON_DISK * sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + log_bytes
    free = free_bytes(run_dir)
    if free + store.bytes_on_disk(run_dir) < needed:
        raise InputError(
            f'{run_dir}: the checkpoints and figures of this run need about '
            f'{needed / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are free; free some '
            'space or choose another output folder'
        )


def _read_latest_documents(run_dir: str) -> dict[str, Any] | None:
    """{'config', 'progress'} of the latest checkpoint whose documents are valid, or None."""
    for folder in store.list_checkpoints(run_dir):
        with contextlib.suppress(store.CorruptCheckpointError):
            return store.read(folder, 'config', 'progress')
    return None


def _training_item(state: Any) -> dict[str, Any]:
    return {'step': state.step, 'opt_state': state.opt_state}


def _last_row(progress: dict[str, Any]) -> dict[str, Any]:
    """The row of the last finished epoch; {} before the first."""
    return (progress.get('history') or [{}])[-1]


def _holds(final_model: str, variables: Any) -> bool:
    """Whether a final model is valid and has these variables."""
    try:
        found = store.read(final_model, 'config', arrays={'variables': None})
    except store.CorruptCheckpointError:
        return False
    return store.checksums({'variables': found['variables']}) == store.checksums(
        {'variables': variables}
    )
