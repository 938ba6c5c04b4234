"""Training and validation, epoch by epoch."""

import contextlib
import functools
import math
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from bodycomp_jax.config import TrainerConfig
from bodycomp_jax.data.batches import ReadAhead, evaluation_batches, training_batches
from bodycomp_jax.errors import RunError, on_all_processes
from bodycomp_jax.models.build import as_inputs
from bodycomp_jax.runtime.devices import compiled, program_memory
from bodycomp_jax.runtime.job import is_alone, is_main_process
from bodycomp_jax.runtime.processes import lost_process_errors, sync_errors
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.training import data_parallel, messages
from bodycomp_jax.training.device_batches import cached_batches, streamed_batches
from bodycomp_jax.training.evaluate import evaluate, one_behind
from bodycomp_jax.training.metrics_log import shows_figures
from bodycomp_jax.training.run_spec import RunSpec
from bodycomp_jax.training.state import Progress, TrainState
from bodycomp_jax.training.step import eval_step, train_step
from bodycomp_jax.training.stop_signals import SIGNALS, StopSignals, stop_flags
from bodycomp_jax.training.watchdog import Watchdog

MAX_TIMES_AHEAD = 4  # as many batches as usual, where each waits for few slices to be drawn
MAX_SKIPPED_IN_A_ROW = 5  # steps without a finite loss and gradient


class Trainer:
    """Trains and validates by programs that are compiled once."""

    def __init__(self, spec: RunSpec, terminal: Terminal, stop: StopSignals, cached: bool):
        """Uploads the sets if they are `cached` on the devices."""
        task, config, devices = spec.task, spec.config, spec.devices
        self._task, self._config, self._devices = task, config, devices
        self._train_set, self._val_set = spec.train_set, spec.val_set
        self._terminal, self._stop = terminal, stop
        self._watchdog = Watchdog(spec.settings.stall_timeout, terminal.warn)
        batches = cached_batches if cached else streamed_batches
        with _device_errors(config), sync_errors():
            self._train_batches, self._val_batches = (
                batches(dataset, config.batch_size, devices)
                for dataset in (spec.train_set, spec.val_set)
            )
            self._samples = self._read_samples()
        self._times_ahead = 1  # all synthetic slices of the first epoch must be drawn
        self._summed_flags: Any = stop_flags(None)
        self._stop_flags: dict[int | None, jax.Array] = {
            received: data_parallel.on_each_device(stop_flags(received), devices)
            for received in (None, *SIGNALS)
        }

    def _read_samples(self) -> dict[str, np.ndarray]:
        """The validation examples that the figures show."""
        n, count = len(self._val_set), self._task.num_figures
        return self._val_set.read(np.linspace(0, n - 1, min(count, n)).astype(int))

    def epochs(
        self, state: TrainState, progress: Progress
    ) -> Iterator[tuple[TrainState, list[np.ndarray] | None]]:
        """Yields (state, figures) after each epoch; `progress` then has its row.

        Stopped by a signal, yields (state, None) after the current step and ends.

        Args:
          state: to start from, on the host.
          progress: its record.
        """
        state = data_parallel.replicate(state, self._devices)
        with _device_errors(self._config):
            with sync_errors():
                self._compile(state)
            with self._watchdog:
                while len(progress.history) < self._config.epochs and not self._stop.stop_signal:
                    began = time.perf_counter()
                    state, speed = self._train_epoch(state, progress)
                    examples = None if self._stop.stop_signal else self._validate(state)
                    self._refuse_changed_data()
                    if examples is None:
                        self._watchdog.waits_for('the checkpoint')
                        yield state, None
                        return
                    seconds = round(time.perf_counter() - began, 3)
                    row = self._epoch_row(progress, int(state.step), examples)
                    progress.end_epoch({**row, **speed, 'seconds': seconds})
                    figures = self._draw_figures(state, examples['metrics'], len(progress.history))
                    self._watchdog.waits_for('the checkpoint')
                    yield state, figures

    def _train_epoch(
        self, state: TrainState, progress: Progress
    ) -> tuple[TrainState, dict[str, float]]:
        """Trains to the end of the epoch or, if stopped, of the current step."""
        config, n = self._config, len(self._train_set)
        epoch = len(progress.history) + 1
        batches = training_batches(
            n,
            config.batch_size,
            config.steps_per_epoch(n),
            config.seed,
            epoch,
            synthetic=config.num_synthetic,
        )
        batches_ahead = ReadAhead(
            self._train_batches, batches[progress.steps_done :], times=self._times_ahead
        )
        done, loss = 0, math.nan

        def steps():
            nonlocal state
            self._watchdog.waits_for('the training files')
            for batch in batches_ahead:
                self._watchdog.waits_for('the devices')
                state, result = self._train(state, (batch, self._stop_flags[self._stop.received]))
                yield result
                if self._stop.stop_signal:
                    return
                self._watchdog.waits_for('the training files')
            self._watchdog.waits_for('the devices')

        began = time.perf_counter()
        title = f'epoch {epoch}/{config.epochs}'
        with self._terminal.bar(title, len(batches), config.batch_size) as advance:
            for result in one_behind(steps()):
                self._watchdog.step_finished()
                self._stop.count(result['stop_flags'])
                progress.add(result)
                if progress.skipped_in_a_row > MAX_SKIPPED_IN_A_ROW:
                    raise on_all_processes(RunError(messages.divergence(progress)))
                if not result['skipped']:
                    loss = float(self._task.loss(result['loss']))
                advance(loss, progress.skipped)
                done += 1
        seconds = time.perf_counter() - began
        self._times_ahead = min(config.synthetic_epochs, MAX_TIMES_AHEAD)
        return state, {
            'images_per_second': round(done * config.batch_size / seconds, 2),
            'data_wait_share': round(batches_ahead.waited / seconds, 4),
        }

    def _validate(self, state: TrainState) -> Any:
        """Numbers of each validation example; None if stopped by a signal."""
        self._watchdog.waits_for('the validation')
        rows = evaluation_batches(len(self._val_set), self._config.batch_size)
        return evaluate(
            functools.partial(self._evaluate, state),
            ReadAhead(self._val_batches, rows),
            len(self._val_set),
            self._should_stop,
        )

    def _refuse_changed_data(self) -> None:
        """Raises RunError for changed files, before a checkpoint is written of them."""
        self._watchdog.waits_for('the data files')
        with sync_errors():
            self._train_set.refuse_changes()
            self._val_set.refuse_changes()

    def _should_stop(self) -> bool:
        """Whether a signal stops the job; called after each step of the validation."""
        self._watchdog.step_finished()
        if not is_alone():  # counts the flags of the previous call: waiting would idle the devices
            flags = self._sum_flags({}, self._stop_flags[self._stop.received])
            previous, self._summed_flags = self._summed_flags, flags
            self._stop.count(np.asarray(previous))
        return self._stop.stop_signal is not None

    def _epoch_row(self, progress: Progress, step: int, examples: Any) -> dict[str, Any]:
        """The row of the epoch, but for its times."""
        trained = progress.steps_done > progress.skipped
        updates = step - progress.total_skipped
        rate = float(self._task.learning_rate_fn(max(updates - 1, 0)))
        val_sums = jax.tree.map(lambda x: x.astype(np.float64).sum(0), examples['loss'])
        return {
            'epoch': len(progress.history) + 1,
            'step': step,
            'train_loss': float(self._task.loss(progress.sums)) if trained else math.nan,
            'val_loss': float(self._task.loss(val_sums)),
            **self._task.summarize(examples['metrics']),
            'skipped_steps': progress.skipped,
            'learning_rate': float(f'{rate:.6g}'),
        }

    def _draw_figures(
        self, state: TrainState, metrics: dict[str, np.ndarray], epoch: int
    ) -> list[np.ndarray]:
        if not (is_main_process() and shows_figures(epoch, self._config.epochs)):
            return []
        self._watchdog.waits_for('the figures')
        outputs = None
        if self._task.num_figures:
            variables = data_parallel.on_one_device(state.variables)
            outputs = np.asarray(self._predict(variables, self._samples['image']))
        return self._task.draw_figures(metrics, outputs, self._samples)

    def _compile(self, state: TrainState) -> None:
        self._terminal.line('compiling ...')
        began = time.perf_counter()
        task, devices, flags = self._task, self._devices, self._stop_flags[None]
        any_rows = np.zeros(self._config.batch_size, int)
        train = functools.partial(train_step, task)
        train = data_parallel.pmap_step(train, devices, donate_state=True)
        self._train = compiled(train.lower(state, (self._train_batches(any_rows), flags)), devices)
        self._refuse_small_memory()
        evaluation = data_parallel.pmap_step(functools.partial(eval_step, task), devices)
        self._evaluate = compiled(evaluation.lower(state, self._val_batches(any_rows)), devices)
        self._sum_flags = data_parallel.pmap_step(
            lambda _, flags: data_parallel.sum_over_devices(flags), devices
        )
        if task.num_figures:
            predict = jax.jit(lambda variables, x: task.model.apply(variables, as_inputs(x)))
            variables = data_parallel.on_one_device(state.variables)
            self._predict = compiled(predict.lower(variables, self._samples['image']), devices)
        self._terminal.line(f'compiled in {time.perf_counter() - began:.1f} s')

    def _refuse_small_memory(self) -> None:
        needed, available = program_memory(self._train, self._devices)
        if needed > available:
            raise RunError(
                f'a training step needs {needed / 1e9:.1f} GB on each device, but only '
                f'{available / 1e9:.1f} GB are available; '
                f'{messages.how_to_save_memory(self._config)}'
            )


@contextlib.contextmanager
def _device_errors(config: TrainerConfig) -> Iterator[None]:
    """A block that translates a lack of memory, or of other processes, into a RunError."""
    try:
        with lost_process_errors():
            yield
    except jax.errors.JaxRuntimeError as error:
        line = next((x for x in str(error).splitlines() if 'RESOURCE_EXHAUSTED' in x), None)
        if line is None:
            raise
        raise RunError(f'out of memory ({line}); {messages.how_to_save_memory(config)}') from error
