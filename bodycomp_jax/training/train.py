"""The training of a network, the same for every task."""

import os
from typing import Any

import jax

from bodycomp_jax.checkpoints.continuing import (
    refuse_config_change,
    refuse_data_change,
    refuse_lost_checkpoints,
    refuse_small_disk,
)
from bodycomp_jax.checkpoints.network import fingerprint
from bodycomp_jax.checkpoints.run import RunCheckpoints
from bodycomp_jax.config import to_json, to_values
from bodycomp_jax.errors import Stopped
from bodycomp_jax.runtime import arithmetic
from bodycomp_jax.runtime.job import is_alone
from bodycomp_jax.runtime.processes import on_main_process, refuse_differences, sync_errors
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.runtime.versions import versions
from bodycomp_jax.training import messages
from bodycomp_jax.training.device_batches import plan_device_cache
from bodycomp_jax.training.epochs import Trainer
from bodycomp_jax.training.metrics_log import MetricsLog, bytes_to_write, write_args
from bodycomp_jax.training.run_folder import RunLock
from bodycomp_jax.training.run_spec import RunSpec
from bodycomp_jax.training.state import Progress, TrainState, initial_state
from bodycomp_jax.training.stop_signals import StopSignals


def train(spec: RunSpec, pretrained: dict[str, Any] | None = None) -> None:
    """Trains a network, or continues after the latest valid checkpoint in the run folder.

    The first SIGTERM, SIGINT, SIGHUP or SIGUSR1 stops it after the current step, with a checkpoint;
    a signal to any process of a job stops them all. Nothing is written before data and run folder
    are validated.

    Args:
      spec: of the run.
      pretrained: variables to start from; None to draw them.

    Raises InputError if a set, or the run that is in the folder already, does not allow it;
    RunError if the work fails; Stopped after a signal.
    """
    terminal = Terminal()
    state, cached = _validated_start(spec, pretrained, terminal)
    data = _fingerprints(spec)
    figure_bytes = spec.task.figure_bytes(spec.train_set.image_shape)
    log_bytes = bytes_to_write(spec.run_dir, spec.config.epochs, figure_bytes)
    refuse_small_disk(spec.run_dir, state, log_bytes)
    with (
        RunLock(spec.run_dir, terminal.warn) as lock,
        StopSignals(is_alone()) as stop,
        RunCheckpoints(spec.run_dir, spec.config, terminal.warn) as checkpoints,
    ):
        state, saved = checkpoints.restore(state)
        progress = _progress(spec, saved, data, terminal)
        write_args(spec.run_dir, _args(spec, progress))
        if len(progress.history) < spec.config.epochs:
            cached = on_main_process(bool)(cached)  # every process must compile the same programs
            trainer = Trainer(spec, terminal, stop, cached)
            with MetricsLog(spec.run_dir, progress.history, terminal.warn) as log:
                epochs = trainer.epochs(state, progress)
                for state, figures in epochs:
                    lock.refuse_loss()
                    if figures is not None:
                        log.write(progress.history, figures)
                        terminal.line(messages.describe_epoch(spec, progress.history))
                        for advice in messages.describe_advice(spec, progress.history):
                            terminal.line(f'WARNING: {advice}')
                    checkpoints.save(state, progress.to_json())
        checkpoints.finish()
        if stop.stop_signal and len(progress.history) < spec.config.epochs:
            terminal.line(messages.describe_stop(spec, int(state.step), stop.stop_signal))
            raise Stopped(stop.stop_signal)
        final_model, best_step = checkpoints.export_best()
    messages.report(spec, terminal, progress.history, best_step, final_model)


def _validated_start(
    spec: RunSpec, pretrained: dict[str, Any] | None, terminal: Terminal
) -> tuple[TrainState, bool]:
    """(the state before the first step, on the host; whether the sets are cached on the devices).

    Validates both sets.
    """
    refuse_differences(
        flags={**to_json(spec.config), 'allow_data_change': spec.settings.allow_data_change},
        devices=[device.id for device in spec.devices],
        versions=versions(),
        xla_flags=os.environ.get('XLA_FLAGS', ''),
    )
    refuse_lost_checkpoints(spec.run_dir)
    refuse_config_change(spec.run_dir, spec.config)
    with sync_errors():
        for split, dataset in (('train', spec.train_set), ('val', spec.val_set)):
            dataset.validate()
            terminal.line(f'{split:<6} {dataset.describe()}')
            for warning in dataset.warnings():
                terminal.line(f'WARNING: {warning}')
        state = initial_state(spec.task, spec.train_set.image_shape, pretrained)
        terminal.line(messages.describe_work(spec, state))
        sets = (spec.train_set, spec.val_set)
        cached, line = plan_device_cache(
            spec.settings.data_cache,
            sets,
            spec.devices,
            draws=spec.config.num_synthetic > 0,
        )
        terminal.line(line)
    return jax.device_get(state), cached


def _fingerprints(spec: RunSpec) -> dict[str, Any]:
    """{split: its fingerprint}, once they agree with those of the run that is in the folder."""
    data = {'train': spec.train_set.fingerprint(), 'val': spec.val_set.fingerprint()}
    refuse_differences(data=data)
    if not spec.settings.allow_data_change:
        refuse_data_change(spec.run_dir, data)
    return data


def _progress(
    spec: RunSpec, saved: dict[str, Any] | None, data: dict[str, Any], terminal: Terminal
) -> Progress:
    """Of a new run or, if something is `saved`, of one that continues; says which."""
    conditions = arithmetic.describe(
        len(spec.devices), spec.devices[0].device_kind, spec.task.model.dtype.name, os.environ
    )
    before = saved or {'started_from': _started_from(spec)}
    progress = Progress.from_json({**before, 'data': data, 'arithmetic': conditions})
    terminal.line(messages.describe_progress(spec, progress))
    changed = arithmetic.differences((saved or {}).get('arithmetic', {}), conditions)
    if changed:
        terminal.line(messages.other_arithmetic(changed))
    return progress


@on_main_process
def _started_from(spec: RunSpec) -> str | None:
    """The fingerprint of the network of `--load_weights`, if any."""
    path = spec.config.load_weights
    return None if path is None else fingerprint(path, spec.config.network.kind)


def _args(spec: RunSpec, progress: Progress) -> dict[str, Any]:
    """The content of args.json: how the program was called, the config, and the devices."""
    return {
        **to_values(spec.settings),
        'name': os.path.basename(spec.run_dir),
        **to_json(spec.config),
        'started_from': progress.started_from,
        'processes': jax.process_count(),
        'devices': len(spec.devices),
        'device_kind': spec.devices[0].device_kind,
        'compute_dtype': spec.task.model.dtype.name,
    }
