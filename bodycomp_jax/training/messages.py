"""What a training prints."""

import datetime
import os
import shlex
import signal
from typing import Any

import numpy as np

from bodycomp_jax.config import TrainerConfig
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.training.run_spec import RunSpec
from bodycomp_jax.training.state import Progress, TrainState, num_parameters

Row = dict[str, Any]


def describe_work(spec: RunSpec, state: TrainState) -> str:
    """The devices, the size of the network and the steps of an epoch."""
    return (
        f'{len(spec.devices)} x {spec.devices[0].device_kind} in {spec.task.model.dtype.name}, '
        f'{num_parameters(state.variables):,} parameters, '
        f'{spec.steps_per_epoch} steps of {spec.config.batch_size} images per epoch'
    )


def describe_progress(spec: RunSpec, progress: Progress) -> str:
    """Where the run starts or continues."""
    done = f'starts with the {spec.config.preset} preset'
    if progress.history or progress.steps_done:
        done = f'continues after epoch {len(progress.history)}'
    if progress.steps_done:
        done += f' and {progress.steps_done} steps'
    return f'{spec.run_dir} {done}, {spec.config.epochs} epochs in total'


def other_arithmetic(changed: list[str]) -> str:
    """A warning about what may change the last bits of the result."""
    return (
        f'WARNING: this run was trained with {"; ".join(changed)}. The result will not be '
        'bit-identical to that of an undisturbed run; for equal bits, continue it as before'
    )


def describe_epoch(spec: RunSpec, history: list[Row]) -> str:
    """The losses, the summary metrics and the speed of the last epoch, and the time left."""
    config, row = spec.config, history[-1]
    metrics = spec.task.summary_metrics.items()
    left = (config.epochs - len(history)) * np.median([r['seconds'] for r in history])
    parts = [
        f'epoch {row["epoch"]:>{len(str(config.epochs))}}/{config.epochs}',
        f'loss {row["train_loss"]:.4f}',
        f'val {row["val_loss"]:.4f}',
        *(f'{metric.label} {metric.number.format(row[name])}' for name, metric in metrics),
        f'{row["images_per_second"]:.1f} images/s',
        f'{row["seconds"]:.1f} s',
        f'{datetime.timedelta(seconds=round(float(left)))} left',
    ]
    if row['skipped_steps']:
        parts.append(f'{row["skipped_steps"]} steps skipped: loss or gradient not finite')
    return '  '.join(parts)


def describe_advice(spec: RunSpec, history: list[Row]) -> list[str]:
    """What the last epoch says about the training, and the epoch before did not."""
    before = spec.task.advice(history[:-1])
    return [text for what, text in spec.task.advice(history).items() if what not in before]


def describe_stop(spec: RunSpec, step: int, stop_signal: int) -> str:
    """Which signal stopped the run, and how to continue it."""
    name = signal.Signals(stop_signal).name
    return f'{name}: stopped after step {step}; {_how_to_continue(spec)}'


def report(
    spec: RunSpec, terminal: Terminal, history: list[Row], best_step: int, final_model: str
) -> None:
    """Prints the best and the last epoch, and where the model is."""
    best = next(row for row in history if row['step'] == best_step)
    metrics = spec.task.summary_metrics
    rows = [
        [
            f'{which} epoch, {row["epoch"]}',
            f'{row["val_loss"]:.4f}',
            # an epoch of an older version may lack a metric
            *(m.number.format(row.get(name, float('nan'))) for name, m in metrics.items()),
        ]
        for which, row in (('best', best), ('last', history[-1]))
    ]
    terminal.table(('', 'val loss', *(m.label for m in metrics.values())), rows)
    terminal.line(f'model of the best epoch: {final_model}')
    terminal.line(f'load it: bodycomp_jax.load_model({final_model!r})')
    terminal.line(f'to train longer, raise --epochs; {_how_to_continue(spec)}')


def divergence(progress: Progress) -> str:
    """The error after too many skipped steps."""
    return (
        f'the loss or its gradient was not finite in {progress.skipped_in_a_row} steps in a row, '
        f'in epoch {len(progress.history) + 1}. Likely causes: a --learning_rate that is too '
        'high, or images in other units than expected. The last checkpoint is intact'
    )


def how_to_save_memory(config: TrainerConfig) -> str:
    """The options that lower the memory of a step."""
    return (
        f'lower --batch_size (now {config.batch_size}), use more devices (--num_gpus), a smaller '
        'network (see --help) or --data_cache=host, and see whether another program uses the '
        'memory'
    )


def _how_to_continue(spec: RunSpec) -> str:
    name = shlex.quote(os.path.basename(spec.run_dir))
    return f'run the same command with --name {name} to continue'
