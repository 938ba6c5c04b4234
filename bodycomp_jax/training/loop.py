"""The training loop, the same for every task."""

import datetime
import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import optax

from bodycomp_jax import config as configs
from bodycomp_jax.checkpoint import Checkpoints, refuse_changes
from bodycomp_jax.data.batches import ReadAhead, evaluation_batches, training_batches
from bodycomp_jax.training import logs, parallel
from bodycomp_jax.training.state import initial_state, num_parameters

PICTURES = 4  # validation examples that are drawn each epoch


def train_step(task, state, batch):
    """One update, as one device sees it.

    Args:
      task: a `Task`.
      state: a `TrainState`, the same on every device.
      batch: this device's part of the batch.

    Returns:
      (the next state, the loss sums of the whole batch), the same on every device.
    """
    key = jax.random.fold_in(jax.random.key(task.seed), state.step)
    indices = parallel.example_indices(len(batch['weight']))
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(indices)
    batch = jax.vmap(task.augment)(keys, batch)

    def loss_of(params):
        outputs, changed = task.model.apply(
            {'params': params, 'batch_stats': state.batch_stats},
            task.inputs(batch['image']),
            train=True,
            mutable=['batch_stats'],
        )
        sums = parallel.sum_over_devices(task.loss_sums(outputs, batch))
        return task.loss(sums), (sums, changed['batch_stats'])

    gradients, (sums, batch_stats) = jax.grad(loss_of, has_aux=True)(state.params)
    gradients = parallel.mean_over_devices(gradients)
    updates, opt_state = task.optimizer.update(gradients, state.opt_state, state.params)
    state = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    return state, sums


def eval_step(task, state, batch):
    """The sums of a whole batch, {'loss': ..., 'metrics': ...}; arguments as of `train_step`."""
    outputs = task.model.apply(state.variables, task.inputs(batch['image']))
    sums = {'loss': task.loss_sums(outputs, batch), 'metrics': task.metric_sums(outputs, batch)}
    return parallel.sum_over_devices(sums)


def train(task, config, train_set, val_set, run_dir, devices, *, args, variables=None):
    """Trains a network, or goes on where the latest checkpoint in the run folder ends.

    Args:
      task: a `Task`: what is trained, and how.
      config: its hyper-parameters; the loop itself uses batch_size, epochs and seed.
      train_set, val_set: have `len`, `image_shape`, `read(indices, weights)` and `check()`.
      run_dir: the folder of the run; nothing is written before both sets were found sound.
      devices: the devices to train on; they divide the batch size.
      args: what args.json says besides the config, plain JSON values.
      variables: weights to start from; None draws them from the seed.

    Raises InputError where a set, or the run that is in the folder already, does not allow it.
    """
    terminal = logs.Terminal()
    refuse_changes(run_dir, config)
    terminal.line(f'train  {train_set.check()}')
    terminal.line(f'val    {val_set.check()}')
    state = initial_state(task, train_set.image_shape, variables)
    terminal.line(_describe_work(task, config, train_set, state, devices))
    state = parallel.replicate(state, devices)

    logs.write_args(run_dir, {**args, **configs.to_json(config)})
    with Checkpoints(run_dir, config) as checkpoints:
        state, history = checkpoints.restore(state)
        terminal.line(_describe_progress(run_dir, history, config))
        epochs = range(len(history) + 1, config.epochs + 1)
        trained = _train_epochs(task, config, train_set, val_set, devices, terminal, state, epochs)
        with logs.EpochLog(run_dir, history) as log:
            for state, row, pictures in trained:
                history.append(row)
                log.write(history, pictures)
                terminal.line(_describe_epoch(task, config, history))
                checkpoints.save(state, history)
        final_model, best_step = checkpoints.export_best()
    _report(task, terminal, history, best_step, final_model)


def evaluate(task, step, state, dataset, batch_size, devices):
    """{'val_loss': ..., and the metrics} of a whole set, every example counted once.

    `step` is `eval_step`, compiled for these devices and this batch size.
    """
    sums = _Sums()
    for batch in _feed(dataset, evaluation_batches(len(dataset), batch_size), devices):
        sums.add(step(state, batch))
    totals = sums.total()
    return {'val_loss': float(task.loss(totals['loss'])), **task.metrics(totals['metrics'])}


def _train_epochs(task, config, train_set, val_set, devices, terminal, state, epochs):
    """Trains and validates; yields (state, row of numbers, pictures) after each epoch."""
    if not epochs:
        return
    samples = _read_samples(val_set)
    steps = _compile(task, config, train_set, samples, state, devices, terminal)
    for epoch in epochs:
        began = time.perf_counter()
        batches = training_batches(len(train_set), config.batch_size, config.seed, epoch)
        feed = _feed(train_set, zip(batches, strict=True), devices)
        title = f'epoch {epoch}/{config.epochs}'
        with terminal.bar(title, len(batches), config.batch_size) as advance:
            state, totals = _train_epoch(task, steps.train, state, feed, advance)
        train_seconds = time.perf_counter() - began
        validated = evaluate(task, steps.evaluate, state, val_set, config.batch_size, devices)
        row = {
            'epoch': epoch,
            'step': epoch * len(batches),
            'train_loss': float(task.loss(totals)),
            **validated,
            'learning_rate': float(f'{float(task.schedule(epoch * len(batches) - 1)):.6g}'),
            'images_per_second': round(batches.size / train_seconds, 2),
            'data_wait_share': round(feed.waited / train_seconds, 4),
            'seconds': round(time.perf_counter() - began, 3),
        }
        outputs = np.asarray(steps.predict(state.variables, samples['image']))
        yield state, row, task.pictures(outputs, samples)


def _train_epoch(task, step, state, batches, advance):
    """One pass over the training set: (state, loss sums)."""
    sums = _Sums()
    for batch in batches:
        state, batch_sums = step(state, batch)
        sums.add(batch_sums)
        if sums.latest is not None:
            advance(task.loss(sums.latest))
    return state, sums.total()


class _Steps(NamedTuple):
    """The compiled programs of a run."""

    train: Callable  # state, batch -> state, loss sums
    evaluate: Callable  # state, batch -> sums
    predict: Callable  # variables, images -> outputs


def _compile(task, config, train_set, samples, state, devices, terminal):
    terminal.line('compiling ...')
    began = time.perf_counter()
    batch = parallel.split(train_set.read(np.arange(config.batch_size)), devices)
    train = parallel.parallel(functools.partial(train_step, task), devices, donate_state=True)
    evaluation = parallel.parallel(functools.partial(eval_step, task), devices)
    predict = jax.jit(lambda variables, x: task.model.apply(variables, task.inputs(x)))
    steps = _Steps(
        train=train.lower(state, batch).compile(),
        evaluate=evaluation.lower(state, batch).compile(),
        predict=predict.lower(state.variables, samples['image']).compile(),
    )
    terminal.line(f'compiled in {time.perf_counter() - began:.1f} s')
    return steps


def _feed(dataset, keys, devices):
    """Batches on the devices, read and sent ahead of their use."""
    return ReadAhead(lambda *key: parallel.split(dataset.read(*key), devices), keys)


class _Sums:
    """Adds up what the devices return, in float64 on the host.

    It fetches each result when the next one is added, so that the devices always have a step
    to work on, and never more than two.
    """

    def __init__(self):
        self.latest = None  # as numpy arrays
        self._total = None
        self._pending = None

    def add(self, sums):
        self._fetch()
        self._pending = sums

    def total(self):
        self._fetch()
        return self._total

    def _fetch(self):
        if self._pending is None:
            return
        self.latest = jax.tree.map(lambda x: np.asarray(x, np.float64), self._pending)
        self._pending = None
        if self._total is None:
            self._total = self.latest
        else:
            self._total = jax.tree.map(np.add, self._total, self.latest)


def _read_samples(val_set):
    """A few examples spread over the set, the same in every epoch."""
    n = min(PICTURES, len(val_set))
    return val_set.read(np.linspace(0, len(val_set) - 1, n).astype(int))


def _describe_work(task, config, train_set, state, devices):
    return (
        f'{len(devices)} x {devices[0].device_kind} in {task.model.dtype.name}, '
        f'{num_parameters(state.variables):,} parameters, '
        f'{len(train_set) // config.batch_size} steps of {config.batch_size} images an epoch'
    )


def _describe_progress(run_dir, history, config):
    done = f'continues after epoch {len(history)}' if history else 'starts'
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
    return '  '.join(parts)


def _report(task, terminal, history, best_step, final_model):
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
    terminal.line(f"load it: bodycomp_jax.checkpoint.load_model('{final_model}')")
