"""The training of a network, the same for every task."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import jax

from bodycomp_jax.checkpoints.run import (
    RunCheckpoints,
    refuse_config_change,
    refuse_data_change,
    refuse_small_disk,
)
from bodycomp_jax.config import RunConfig, TrainerConfig, to_json, to_values
from bodycomp_jax.data.dataset import Dataset
from bodycomp_jax.errors import Stopped
from bodycomp_jax.runtime.processes import (
    is_alone,
    on_main_process,
    refuse_differences,
    sync_errors,
)
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.runtime.versions import versions
from bodycomp_jax.training import data_parallel, messages
from bodycomp_jax.training.device_batches import plan_device_cache
from bodycomp_jax.training.epochs import Trainer, device_errors
from bodycomp_jax.training.metrics_log import MetricsLog, write_args
from bodycomp_jax.training.run_folder import locked
from bodycomp_jax.training.state import Progress, TrainState, initial_state
from bodycomp_jax.training.stop_signals import StopSignals
from bodycomp_jax.training.tasks.task import Task


def train(
    task: Task,
    config: TrainerConfig,
    train_set: Dataset,
    val_set: Dataset,
    run_dir: str,
    devices: Sequence[jax.Device],
    run: RunConfig,
    pretrained: dict[str, Any] | None = None,
) -> None:
    """Trains a network, or continues after the latest valid checkpoint in the run folder.

    The first SIGTERM, SIGINT or SIGUSR1 stops it after the current step, with a checkpoint; a
    signal to any process of a job stops them all.

    Args:
      task: what is trained, and how.
      config: its hyper-parameters.
      train_set, val_set: the data; nothing is written before both are validated.
      run_dir: the folder of the run.
      devices: the devices of all processes to train on; must divide the batch size.
      run: the settings of the run.
      pretrained: variables to start from; None to draw them.

    Raises InputError if a set, or the run that is in the folder already, does not allow it;
    RunError if the work fails; Stopped after a signal.
    """
    terminal = Terminal()
    refuse_differences(
        flags=to_json(config), devices=[device.id for device in devices], versions=versions()
    )
    refuse_config_change(run_dir, config)
    with sync_errors():
        state = _validated_start(task, config, train_set, val_set, devices, pretrained, terminal)
        cached, line = plan_device_cache(run.data_cache, (train_set, val_set), devices)
        terminal.line(line)
    data = {'train': train_set.fingerprint(), 'val': val_set.fingerprint()}
    refuse_differences(data=data)
    if not run.allow_data_change:
        refuse_data_change(run_dir, data)
    refuse_small_disk(run_dir, state)
    with (
        contextlib.ExitStack() as stack,
        StopSignals(is_alone()) as stop,
        RunCheckpoints(run_dir, config, terminal.warn) as checkpoints,
    ):
        on_main_process(stack.enter_context)(locked(run_dir))
        state, saved = checkpoints.restore(state)
        state = data_parallel.replicate(state, devices)
        progress = Progress.from_json({**saved, 'data': data}) if saved else Progress(data)
        terminal.line(messages.describe_progress(run_dir, config, progress))
        write_args(run_dir, _args(run, run_dir, config, task, devices))
        if len(progress.history) < config.epochs:
            cached = on_main_process(bool)(cached)  # every process must compile the same programs
            with device_errors(config), sync_errors():
                trainer = Trainer(
                    task, config, run, train_set, val_set, devices, terminal, stop, cached
                )
            with MetricsLog(run_dir, progress.history, terminal.warn) as log:
                epochs = trainer.epochs(state, progress)
                for state, figures in epochs:
                    if figures is not None:
                        log.write(progress.history, figures)
                        terminal.line(messages.describe_epoch(task, config, progress.history))
                    checkpoints.save(state, progress.to_json())
        checkpoints.finish()
        if stop.stop_signal and len(progress.history) < config.epochs:
            terminal.line(messages.describe_stop(run_dir, int(state.step), stop.stop_signal))
            raise Stopped(stop.stop_signal)
        final_model, best_step = checkpoints.export_best()
    messages.report(task, terminal, run_dir, progress.history, best_step, final_model)


def _validated_start(
    task: Task,
    config: TrainerConfig,
    train_set: Dataset,
    val_set: Dataset,
    devices: Sequence[jax.Device],
    pretrained: dict[str, Any] | None,
    terminal: Terminal,
) -> TrainState:
    """The state before the first step, on the host, once both sets are validated."""
    for split, dataset in (('train', train_set), ('val', val_set)):
        dataset.validate()
        terminal.line(f'{split:<6} {dataset.describe()}')
    state = initial_state(task, train_set.image_shape, pretrained)
    terminal.line(messages.describe_work(task, config, len(train_set), state, devices))
    return jax.device_get(state)


def _args(
    run: RunConfig,
    run_dir: str,
    config: TrainerConfig,
    task: Task,
    devices: Sequence[jax.Device],
) -> dict[str, Any]:
    """The content of args.json: how the program was called, the config, and the devices."""
    return {
        **to_values(run),
        'name': os.path.basename(run_dir),
        **to_json(config),
        'processes': jax.process_count(),
        'devices': len(devices),
        'device_kind': devices[0].device_kind,
        'compute_dtype': task.model.dtype.name,
    }
