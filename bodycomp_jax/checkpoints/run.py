"""The checkpoints of a run, and what a run that continues may change."""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable
from typing import Any

import jax
from flax import serialization

from bodycomp_jax.checkpoints import folder, keras_network, store
from bodycomp_jax.checkpoints.network import load_network
from bodycomp_jax.config import TrainerConfig, as_flag, from_json, from_values, to_json, to_values
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.runtime.files import free_bytes
from bodycomp_jax.runtime.job import is_main_process
from bodycomp_jax.runtime.processes import on_main_process

METRICS = 'metrics.csv'
MAX_UNSAVED_EPOCHS = 2  # written to metrics.csv before the first checkpoint is complete


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
        self._shapes: dict[str, Any] = {}  # of the arrays of each item
        self._opened = contextlib.ExitStack()
        self._manager: Any = None
        self._step: int | None = None  # of the latest save
        self._failure: Exception | None = None  # why it could not begin

    def __enter__(self) -> 'RunCheckpoints':
        return self

    def __exit__(self, *_: object) -> None:
        error = self._close()
        if error is not None and self._failure is None:
            self._warn_of(error, self._read_back())

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
        self._shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
            {'variables': state.variables, 'training': _training_item(state)},
        )
        progress, corrupt = None, {}
        for checkpoint in folder.list_checkpoints(self._run_dir):
            try:
                items = store.read(checkpoint, 'progress', 'config', arrays=self._shapes)
                folder.refuse_other_step(checkpoint, int(items['training']['step']))
            except folder.CorruptCheckpointError as error:
                corrupt[checkpoint] = error
                continue
            state = state.replace(**items['variables'], **items['training'])
            progress = items['progress']
            break
        if corrupt and progress is None:
            of_other_version = all(isinstance(e, folder.OtherArraysError) for e in corrupt.values())
            remedy = 'Restore one from a backup'
            if of_other_version:
                remedy = f'Continue with the versions of the packages in {self._run_dir}/args.json'
            raise RunError(
                f'{self._run_dir}: no checkpoint of this run is valid ({folder.listed(corrupt)}). '
                f'{remedy}, or give another --name to start again'
            )
        for checkpoint, why in corrupt.items():
            moved = folder.set_aside(checkpoint)
            self._warn(f'{checkpoint} is corrupt ({why}); moved to {moved}')
        folder.remove_leftovers(self._run_dir)
        store.refuse_unsuitable_disk(self._run_dir)
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
        error = self._wait()
        if error is not None:
            self._warn_of(error, self._read_back())
            self._open()
        elif self._step is not None and not os.path.isdir(self._latest):
            self._warn(
                f'{self._latest} was deleted or moved while the run trained; the best of the '
                f'checkpoints that remain becomes the {folder.FINAL_MODEL}'
            )
        error = self._start_save(state, progress)
        if error is not None:
            self._warn_of(error, error)
            self._open()
            error = self._start_save(state, progress)
        self._failure = error

    @on_main_process
    def finish(self) -> None:
        """Waits for the save in flight and reads it back.

        Raises RunError if the latest save failed. A checkpoint that is no longer needed but cannot
        be removed is a warning.
        """
        error = self._failure or self._wait()
        damage = self._failure or self._read_back()
        if damage is not None:
            raise RunError(
                f'{self._run_dir}: the last checkpoint could not be saved '
                f'({folder.reason(error or damage)}); then run the same command again'
            )
        if error is not None:
            self._warn_of(error, None)

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
                f'{self._run_dir}: no valid checkpoint with a finite validation loss to export; '
                'start again with a lower --learning_rate'
            )
        checkpoint, items = best
        final_model = os.path.join(self._run_dir, folder.FINAL_MODEL)
        if not self._holds(final_model, items):
            self._write_final_model(items)
        return [final_model, folder.step_of(checkpoint)]

    def _read_best(self) -> tuple[str, Any] | None:
        """(folder, {'variables'}) of the valid checkpoint with the best validation loss."""
        for checkpoint in store.ranked(self._run_dir, self._warn):
            try:
                return checkpoint, store.read(checkpoint, arrays=self._variable_shapes)
            except folder.CorruptCheckpointError as error:
                self._warn(f'{checkpoint} is corrupt ({error})')
        return None

    def _write_final_model(self, items: dict[str, Any]) -> None:
        """Raises RunError if it cannot be written and read back."""
        try:
            with folder.replacing_final_model(self._run_dir) as new:
                store.write(new, config=self._config, **items)
                if not self._holds(new, items):
                    raise RunError('it is not what was written')
        except Exception as error:  # of many kinds
            raise RunError(
                f'{self._run_dir}/{folder.FINAL_MODEL}: could not be written '
                f'({folder.reason(error)}); then run the same command again'
            ) from error

    def _holds(self, final_model: str, items: dict[str, Any]) -> bool:
        """Whether a final model is valid and has these variables."""
        try:
            found = store.read(final_model, 'config', arrays=self._variable_shapes)
        except folder.CorruptCheckpointError:
            return False
        return store.checksums({'variables': found['variables']}) == store.checksums(items)

    @property
    def _variable_shapes(self) -> dict[str, Any]:
        return {'variables': self._shapes['variables']}

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
        self._step = step
        return None

    def _wait(self) -> Exception | None:
        """Waits for the save in flight, and the removal of older checkpoints; returns an error."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # of many kinds
            return error
        return None

    def _read_back(self) -> Exception | None:
        """Reads what this process saved last; returns what is wrong with it."""
        try:
            if self._step is not None:
                store.read(self._latest, 'progress', 'config', arrays=self._shapes)
        except (folder.CorruptCheckpointError, RunError) as error:
            return error
        return None

    @property
    def _latest(self) -> str:
        """The folder of what this process saved last."""
        return os.path.join(folder.checkpoints_dir(self._run_dir), str(self._step))

    def _open(self) -> None:
        self._close()
        self._manager = self._opened.enter_context(store.open_manager(self._run_dir))

    def _close(self) -> Exception | None:
        """Waits for the save in flight; returns its error, if any."""
        try:
            self._opened.close()
        except Exception as error:  # of many kinds
            return error
        return None

    def _warn_of(self, error: Exception, damage: Exception | None) -> None:
        """Warns of an error, and of the `damage` that it did to the save, if any."""
        if damage is None:
            self._warn(
                f'an old checkpoint could not be removed in {self._run_dir} '
                f'({folder.reason(error)}); the new one is saved, and training continues'
            )
        else:
            self._warn(
                f'a checkpoint could not be saved in {self._run_dir} ({folder.reason(error)}); '
                'earlier checkpoints are kept, training continues, and the next save will retry'
            )


def load_pretrained(
    run_dir: str,
    config: TrainerConfig,
    given: set[str],
    warn: Callable[[str], None] = warnings.warn,
) -> tuple[TrainerConfig, dict[str, Any] | None]:
    """The config and the initial variables, from the network at `config.load_weights`.

    Args:
      run_dir: the folder of the run; its own network takes precedence if it has a checkpoint.
      config: the hyper-parameters.
      given: names of the options that the user gave; the other options of the network are taken
        from the pretrained one.
      warn: see `load_network`.

    Returns:
      (the config, the pretrained variables or None to draw them).

    Raises InputError if the weights cannot be read or are of another network.
    """
    wanted = {name: v for name, v in to_values(config.network).items() if name in given}
    options, variables = _read_pretrained(run_dir, config, wanted, warn)
    if options is None:
        return config, None
    network = from_values(type(config.network), options | wanted)
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
def refuse_lost_checkpoints(run_dir: str) -> None:
    """Raises InputError if a run has results but no checkpoint, and would begin again."""
    if folder.list_checkpoints(run_dir):
        return
    final_model = os.path.join(run_dir, folder.FINAL_MODEL)
    has_model, epochs = os.path.lexists(final_model), _epochs_in_metrics(run_dir)
    killed_early = epochs <= MAX_UNSAVED_EPOCHS and os.path.isdir(folder.checkpoints_dir(run_dir))
    if has_model or (epochs and not killed_early):
        results = final_model if has_model else os.path.join(run_dir, METRICS)
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
            f'{needed / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are free; free some '
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
        with open(os.path.join(run_dir, METRICS), 'rb') as file:
            return max(0, sum(1 for _ in file) - 1)
    except FileNotFoundError:
        return 0


def _training_item(state: Any) -> dict[str, Any]:
    return {'step': state.step, 'opt_state': state.opt_state}


def _last_row(progress: dict[str, Any]) -> dict[str, Any]:
    """The row of the last finished epoch; {} before the first."""
    return (progress.get('history') or [{}])[-1]
