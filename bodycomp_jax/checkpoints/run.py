"""The checkpoints of a run."""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import jax
from flax import serialization

from bodycomp_jax.checkpoints import folder, store
from bodycomp_jax.config import TrainerConfig, to_json
from bodycomp_jax.errors import RunError
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
            {'variables': state.variables, 'training': state.training},
        )
        progress, corrupt = None, {}
        for checkpoint in folder.list_checkpoints(self._run_dir):
            try:
                items = store.read(checkpoint, 'progress', 'config', arrays=self._shapes)
                folder.refuse_other_step(checkpoint, int(items['training']['step']))
            except folder.CorruptCheckpointError as error:
                corrupt[checkpoint] = error
                continue
            state = state.with_arrays(items['variables'], items['training'])
            progress = items['progress']
            break
        if corrupt and progress is None:
            of_other_version = all(isinstance(e, folder.OtherArraysError) for e in corrupt.values())
            remedy = 'Restore one from a backup'
            if of_other_version:
                remedy = f'Continue with the versions of the packages in {self._run_dir}/args.json'
            raise RunError(
                f'{self._run_dir}: no checkpoint of this run is valid ({folder.causes(corrupt)}). '
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
            'training': state.training,
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


def _last_row(progress: dict[str, Any]) -> dict[str, Any]:
    """The row of the last finished epoch; {} before the first."""
    return (progress.get('history') or [{}])[-1]
