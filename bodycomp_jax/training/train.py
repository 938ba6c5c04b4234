"""The training loop, the same for every task."""

import contextlib
import datetime
import functools
import itertools
import math
import os
import shlex
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bodycomp_jax import config as configs
from bodycomp_jax.checkpoints.run import (
    Checkpoints,
    refuse_changes,
    refuse_small_disk,
    starting_weights,
)
from bodycomp_jax.data.batches import ReadAhead, evaluation_batches, training_batches
from bodycomp_jax.errors import Stopped, WorkError, everywhere
from bodycomp_jax.runtime import processes
from bodycomp_jax.training import data_parallel, device_batches, metrics_log, run_folder
from bodycomp_jax.training.state import Progress, initial_state, num_parameters
from bodycomp_jax.training.stop_signals import SIGNALS, Interrupts, vote
from bodycomp_jax.training.watchdog import Watchdog

MAX_SKIPPED_IN_A_ROW = 5  # steps without a finite loss and gradient


def train_step(task, state, batch):
    """One update, as one device sees it.

    Args:
      task: a `Task`.
      state: a `TrainState`, the same on every device.
      batch: this device's part of the batch.

    Returns:
      (the next state, {'loss': the loss sums of the whole batch, 'skipped': 0}), the same on every
      device. Where the loss or a gradient is not finite the weights stay as they were, the sums
      are 0 and 'skipped' is 1.
    """
    key = jax.random.fold_in(jax.random.key(task.seed), state.step)
    indices = data_parallel.example_indices(len(batch['weight']))
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(indices)
    batch = jax.vmap(task.augment)(keys, batch)

    def sums_of(params):
        outputs, changed = task.model.apply(
            {'params': params, 'batch_stats': state.batch_stats},
            task.inputs(batch['image']),
            train=True,
            mutable=['batch_stats'],
        )
        return task.loss_sums(outputs, batch), changed.get('batch_stats', {})

    # By the chain rule through the sums, so that each device adds its part of the gradient.
    own_sums, pull_back, batch_stats = jax.vjp(sums_of, state.params, has_aux=True)
    sums = data_parallel.sum_over_devices(own_sums)
    loss, slopes = jax.value_and_grad(task.loss)(sums)
    gradients = data_parallel.sum_over_devices(pull_back(slopes)[0])
    updates, opt_state = task.optimizer.update(gradients, state.opt_state, state.params)
    updated = state.replace(
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    finite = jax.tree.reduce(
        jnp.logical_and, jax.tree.map(lambda x: jnp.isfinite(x).all(), (loss, gradients))
    )
    state = jax.tree.map(functools.partial(jnp.where, finite), updated, state)
    sums = jax.tree.map(lambda x: jnp.where(finite, x, 0), sums)
    return state.replace(step=state.step + 1), {'loss': sums, 'skipped': jnp.where(finite, 0, 1)}


def eval_step(task, state, batch):
    """The sums of a whole batch, {'loss': ..., 'metrics': ...}; arguments as of `train_step`."""
    outputs = task.model.apply(state.variables, task.inputs(batch['image']))
    sums = {'loss': task.loss_sums(outputs, batch), 'metrics': task.metric_sums(outputs, batch)}
    return data_parallel.sum_over_devices(sums)


def train(task, config, train_set, val_set, run_dir, devices, run):
    """Trains a network, or goes on where the latest sound checkpoint in the run folder ends.

    The first SIGTERM, SIGINT or SIGUSR1 ends it after the step in hand, with a checkpoint; one
    that any process of a job receives ends them all.

    Args:
      task: a `Task`: what is trained, and how.
      config: its hyper-parameters; the loop itself uses batch_size, epochs and seed.
      train_set, val_set: sets with what `data.segmentation.SegmentationSet` has in public.
      run_dir: the folder of the run; nothing is written before both sets were found sound.
      devices: the devices of all processes to train on; they divide the batch size.
      run: a `RunConfig`.

    Raises InputError where a set, or the run that is in the folder already, does not allow it;
    WorkError where the work fails; Stopped after a signal.
    """
    terminal = metrics_log.Terminal()
    variables = processes.first(starting_weights, run_dir, config)
    data = {'train': train_set.identity(), 'val': val_set.identity()}
    _refuse_differences(config, data, devices)
    processes.first(refuse_changes, run_dir, config, None if run.allow_data_change else data)
    with processes.agreed():
        state = _checked_start(task, config, train_set, val_set, devices, variables, terminal)
        kept, line = device_batches.is_kept(run.data_cache, (train_set, val_set), devices)
        terminal.line(line)
    processes.first(refuse_small_disk, run_dir, state)
    with (
        contextlib.ExitStack() as stack,
        Interrupts(processes.is_alone()) as interrupts,
        Checkpoints(run_dir, config, terminal.warn) as checkpoints,
    ):
        processes.first(stack.enter_context, run_folder.held(run_dir))
        state, saved = checkpoints.restore(state)
        state = data_parallel.replicate(state, devices)
        progress = Progress(**{**(saved or {}), 'data': data})
        terminal.line(_describe_progress(run_dir, config, progress))
        processes.first(metrics_log.write_args, run_dir, _args(run, run_dir, config, task, devices))
        if len(progress.history) < config.epochs:
            kept = processes.first(bool, kept)  # all must compile the same programs
            with _device_errors(config), processes.agreed():
                trainer = _Trainer(
                    task, config, train_set, val_set, devices, terminal, kept, run.stall_timeout
                )
            with metrics_log.EpochLog(run_dir, progress.history, terminal.warn) as log:
                trained = trainer.epochs(state, progress, interrupts)
                for state, pictures in trained:
                    if pictures is not None:
                        log.write(progress.history, pictures)
                        terminal.line(_describe_epoch(task, config, progress.history))
                    checkpoints.save(state, progress.to_json())
        checkpoints.finish()
        if len(progress.history) < config.epochs:
            terminal.line(_describe_stop(run_dir, state, interrupts))
            raise Stopped(interrupts.agreed)
        final_model, best_step = checkpoints.export_best()
    _report(task, terminal, run_dir, progress.history, best_step, final_model)


def _refuse_differences(config, data, devices):
    """Raises InputError where the processes of a job would compute different things."""
    processes.refuse_differences(
        flags=configs.to_json(config),
        data=data,
        devices=[device.id for device in devices],
        versions=metrics_log.versions(),
    )


def _checked_start(task, config, train_set, val_set, devices, variables, terminal):
    """The state before the first step, on the host, once both sets were found sound."""
    terminal.line(f'train  {train_set.check()}')
    terminal.line(f'val    {val_set.check()}')
    state = initial_state(task, train_set.image_shape, variables)
    terminal.line(_describe_work(task, config, train_set, state, devices))
    return jax.device_get(state)


def _args(run, run_dir, config, task, devices):
    """What args.json says: how the program was called, the config, and what computes."""
    return {
        **configs.to_json(run),
        'name': os.path.basename(run_dir),
        **configs.to_json(config),
        'processes': jax.process_count(),
        'devices': len(devices),
        'device_kind': devices[0].device_kind,
        'compute_dtype': task.model.dtype.name,
    }


def evaluate(step, batches, interrupts):
    """The sums of `eval_step` over all batches together; None if interrupted.

    `step` maps a batch to its sums by `eval_step`, and the processes' votes to end.
    """
    total = None
    for sums, votes in _one_behind(map(step, batches)):
        total = sums if total is None else jax.tree.map(np.add, total, sums)
        interrupts.count(votes)
        if interrupts.agreed:
            return None
    return total


class _Trainer:
    """Trains and validates epoch by epoch, by programs that are compiled once."""

    def __init__(self, task, config, train_set, val_set, devices, terminal, kept, stall_timeout):
        self._task, self._config = task, config
        self._train_set, self._val_set, self._devices = train_set, val_set, devices
        self._terminal = terminal
        make = device_batches.keeper if kept else device_batches.reader
        self._read_train, self._read_val = (
            make(dataset, config.batch_size, devices) for dataset in (train_set, val_set)
        )
        self._watchdog = Watchdog(stall_timeout, terminal.warn)
        spread = np.linspace(0, len(val_set) - 1, min(task.pictured, len(val_set)))
        self._samples = val_set.read(spread.astype(int))
        self._votes = {
            received: data_parallel.on_each_device(vote(received), devices)
            for received in (None, *SIGNALS)
        }

    def epochs(self, state, progress, interrupts):
        """Yields (state, pictures) after each epoch; `progress` then has its row.

        Interrupted, it yields (state, None) after the step in hand, and ends.
        """
        with _device_errors(self._config):
            with processes.agreed():
                self._compile(state)
            with self._watchdog:
                while len(progress.history) < self._config.epochs and not interrupts.agreed:
                    began = time.perf_counter()
                    state, speed = self._train_epoch(state, progress, interrupts)
                    sums = None if interrupts.agreed else self._validate(state, interrupts)
                    if sums is None:
                        yield state, None
                        return
                    seconds = round(time.perf_counter() - began, 3)
                    self._end_epoch(progress, int(state.step), sums, {**speed, 'seconds': seconds})
                    yield state, self._pictures(state, sums['metrics'])

    def _train_epoch(self, state, progress, interrupts):
        """Trains to the end of the epoch, or of the step in hand: (state, {speed: number})."""
        config = self._config
        epoch = len(progress.history) + 1
        n = len(self._train_set)
        steps_per_epoch = config.steps_per_epoch(n)
        batches = training_batches(n, config.batch_size, steps_per_epoch, config.seed, epoch)
        left = batches[progress.steps_done :]
        batches_ahead = ReadAhead(self._read_train, zip(left, strict=True))
        done = 0

        def steps():
            nonlocal state
            self._watchdog.waits_for('the training files')
            for batch in batches_ahead:
                self._watchdog.waits_for('the devices to finish a step')
                votes = self._votes[interrupts.received]
                (state, sums), votes = self._train(state, batch, votes)
                yield sums, votes
                if interrupts.agreed:
                    return
                self._watchdog.waits_for('the training files')
            self._watchdog.waits_for('the devices to finish the last step')

        began = time.perf_counter()
        title = f'epoch {epoch}/{config.epochs}'
        with self._terminal.bar(title, len(batches), config.batch_size) as advance:
            for sums, votes in _one_behind(steps()):
                self._watchdog.step()
                interrupts.count(votes)
                progress.add(sums)
                if progress.skipped_in_a_row > MAX_SKIPPED_IN_A_ROW:
                    raise everywhere(WorkError(_divergence(progress)))
                advance(self._task.loss(sums['loss']), progress.skipped)
                done += 1
        seconds = time.perf_counter() - began
        return state, {
            'images_per_second': round(done * config.batch_size / seconds, 2),
            'data_wait_share': round(batches_ahead.waited / seconds, 4),
        }

    def _validate(self, state, interrupts):
        self._watchdog.waits_for('the validation')
        batches = evaluation_batches(len(self._val_set), self._config.batch_size)

        def step(batch):
            return self._evaluate(state, batch, self._votes[interrupts.received])

        return evaluate(step, ReadAhead(self._read_val, batches), interrupts)

    def _end_epoch(self, progress, step, sums, timing):
        """Adds the epoch's row to the history."""
        learnt = progress.steps_done > progress.skipped
        rate = float(self._task.schedule(step - 1))
        progress.end_epoch(
            {
                'epoch': len(progress.history) + 1,
                'step': step,
                'train_loss': float(self._task.loss(progress.sums)) if learnt else math.nan,
                'val_loss': float(self._task.loss(sums['loss'])),
                **self._task.metrics(sums['metrics']),
                'skipped_steps': progress.skipped,
                'learning_rate': float(f'{rate:.6g}'),
                **timing,
            }
        )

    def _pictures(self, state, sums):
        """What the task draws of the validation."""
        if not processes.is_first():
            return []
        self._watchdog.waits_for('the pictures')
        outputs = None
        if self._task.pictured:
            variables = data_parallel.on_one_device(state.variables)
            outputs = np.asarray(self._predict(variables, self._samples['image']))
        return self._task.pictures(sums, outputs, self._samples)

    def _compile(self, state):
        self._terminal.line('compiling ...')
        began = time.perf_counter()
        task, devices = self._task, self._devices
        train = data_parallel.parallel(
            functools.partial(train_step, task), devices, donate_state=True
        )
        evaluation = data_parallel.parallel(functools.partial(eval_step, task), devices)
        predict = jax.jit(lambda variables, x: task.model.apply(variables, task.inputs(x)))
        votes = self._votes[None]
        any_rows = np.zeros(self._config.batch_size, int)
        batch = self._read_train(any_rows)
        self._train = train.lower(state, batch, votes).compile()
        self._refuse_small_memory()
        batch = self._read_val(any_rows)
        self._evaluate = evaluation.lower(state, batch, votes).compile()
        if task.pictured:
            variables = data_parallel.on_one_device(state.variables)
            self._predict = predict.lower(variables, self._samples['image']).compile()
        self._terminal.line(f'compiled in {time.perf_counter() - began:.1f} s')

    def _refuse_small_memory(self):
        needed, available = data_parallel.memory(self._train, self._devices)
        if needed > available:
            raise WorkError(
                f'a training step needs {needed / 1e9:.1f} GB on each device, where there are '
                f'{available / 1e9:.1f} GB for it; {_less_memory(self._config)}'
            )


def _one_behind(results):
    """What devices return, in float64 on the host, each when the next one is under way.

    So the devices always have a step to work on, and never more than two.
    """

    def fetch(result):
        return jax.tree.map(lambda x: np.asarray(x, np.float64), result)

    for result, _ in itertools.pairwise(itertools.chain(results, [None])):
        yield fetch(result)


@contextlib.contextmanager
def _device_errors(config):
    """Turns a lack of memory, or of the other processes, into messages that help."""
    try:
        with processes.lost_processes():
            yield
    except jax.errors.JaxRuntimeError as error:
        if 'RESOURCE_EXHAUSTED' not in str(error):
            raise
        first_line = str(error).splitlines()[0]
        raise WorkError(f'out of memory ({first_line}); {_less_memory(config)}') from error


def _less_memory(config):
    return (
        f'lower --batch_size (now {config.batch_size}), use more devices (--num_gpus), a smaller '
        'network (see --help) or --data_cache host'
    )


def _divergence(progress):
    return (
        f'the loss or its gradient was not finite in {progress.skipped_in_a_row} steps in a row, '
        f'in epoch {len(progress.history) + 1}. Likely causes: a --learning_rate that is too '
        'high, or images in other units than they must be. The last checkpoint is intact'
    )


def _describe_work(task, config, train_set, state, devices):
    steps = config.steps_per_epoch(len(train_set))
    return (
        f'{len(devices)} x {devices[0].device_kind} in {task.model.dtype.name}, '
        f'{num_parameters(state.variables):,} parameters, '
        f'{steps} steps of {config.batch_size} images an epoch'
    )


def _describe_progress(run_dir, config, progress):
    done = 'starts'
    if progress.history or progress.steps_done:
        done = f'continues after epoch {len(progress.history)}'
    if progress.steps_done:
        done += f' and {progress.steps_done} steps'
    return f'{run_dir} {done}, {config.epochs} epochs in all'


def _describe_epoch(task, config, history):
    row = history[-1]
    left = (config.epochs - len(history)) * np.median([r['seconds'] for r in history])
    parts = [
        f'epoch {row["epoch"]:>{len(str(config.epochs))}}/{config.epochs}',
        f'loss {row["train_loss"]:.4f}',
        f'val {row["val_loss"]:.4f}',
        *(f'{label} {row[name]:.3f}' for name, label in task.headline.items()),
        f'{row["images_per_second"]:.1f} images/s',
        f'{row["seconds"]:.1f} s',
        f'{datetime.timedelta(seconds=round(left))} left',
    ]
    if row['skipped_steps']:
        parts.append(f'{row["skipped_steps"]} steps skipped: loss not finite')
    return '  '.join(parts)


def _describe_stop(run_dir, state, interrupts):
    name = signal.Signals(interrupts.agreed).name
    return f'{name}: stopped after step {state.step}; {_how_to_continue(run_dir)}'


def _report(task, terminal, run_dir, history, best_step, final_model):
    best = next(row for row in history if row['step'] == best_step)
    last = history[-1]
    rows = [
        [
            f'{which} epoch, {row["epoch"]}',
            f'{row["val_loss"]:.4f}',
            *(f'{row[name]:.4f}' for name in task.headline),
        ]
        for which, row in (('best', best), ('last', last))
    ]
    terminal.table(('', 'val loss', *task.headline.values()), rows)
    terminal.line(f'model of the best epoch: {final_model}')
    terminal.line(f'load it: bodycomp_jax.checkpoint.load_model({final_model!r})')
    terminal.line(f'to train on, raise --epochs; {_how_to_continue(run_dir)}')


def _how_to_continue(run_dir):
    name = shlex.quote(os.path.basename(run_dir))
    return f'the same command with --name {name} continues'
