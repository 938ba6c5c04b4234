"""The training loop, the same for every task."""

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
    terminal.line(_describe(config, train_set, state, devices))
    state = parallel.replicate(state, devices)

    logs.write_args(run_dir, {**args, **configs.to_json(config)})
    with Checkpoints(run_dir, config) as checkpoints:
        state, history = checkpoints.restore(state)
        terminal.line(_describe_progress(run_dir, history, config))
        if len(history) < config.epochs:
            steps = _compile(task, config, train_set, state, devices, terminal)
            samples = _read_samples(val_set)
            with logs.EpochLog(run_dir, history) as log:
                for epoch in range(len(history) + 1, config.epochs + 1):
                    state, row = _epoch(
                        task, config, steps, state, train_set, val_set, devices, epoch, terminal
                    )
                    history.append(row)
                    outputs = np.asarray(steps.predict(state.variables, samples['image']))
                    log.write(history, task.pictures(outputs, samples))
                    terminal.line(_describe_epoch(row, config, task))
                    checkpoints.save(state, history)
        final_model, best_step = checkpoints.export_best()
    _report(terminal, history, best_step, final_model, task)


class _Steps(NamedTuple):
    """The compiled programs of a run."""

    train: Callable  # state, batch -> state, loss sums
    evaluate: Callable  # state, batch -> sums
    predict: Callable  # variables, images -> outputs


def _compile(task, config, train_set, state, devices, terminal):
    terminal.line('compiling ...')
    began = time.perf_counter()
    batch = parallel.split(train_set.read(np.arange(config.batch_size)), devices)
    train = parallel.parallel(functools.partial(train_step, task), devices, donate_state=True)
    evaluate = parallel.parallel(functools.partial(eval_step, task), devices)
    steps = _Steps(
        train=train.lower(state, batch).compile(),
        evaluate=evaluate.lower(state, batch).compile(),
        predict=jax.jit(lambda variables, x: task.model.apply(variables, task.inputs(x))),
    )
    terminal.line(f'compiled in {time.perf_counter() - began:.1f} s')
    return steps


def _epoch(task, config, steps, state, train_set, val_set, devices, epoch, terminal):
    """One pass over the training set and one over the validation set: (state, row of numbers)."""
    began = time.perf_counter()
    batches = training_batches(len(train_set), config.batch_size, config.seed, epoch)
    title = f'epoch {epoch}/{config.epochs}'
    train_sums = _Sums()
    with terminal.bar(title, len(batches), config.batch_size) as advance:
        feed = _feed(train_set, zip(batches, strict=True), devices)
        for batch in feed:
            state, sums = steps.train(state, batch)
            train_sums.add(sums)
            if train_sums.latest is not None:
                advance(task.loss(train_sums.latest))
        train_totals = train_sums.total()
    train_seconds = time.perf_counter() - began

    val_sums = _Sums()
    for batch in _feed(val_set, evaluation_batches(len(val_set), config.batch_size), devices):
        val_sums.add(steps.evaluate(state, batch))
    val_totals = val_sums.total()
    row = {
        'epoch': epoch,
        'step': epoch * len(batches),
        'train_loss': float(task.loss(train_totals)),
        'val_loss': float(task.loss(val_totals['loss'])),
        **task.metrics(val_totals['metrics']),
        'learning_rate': float(f'{float(task.schedule(epoch * len(batches) - 1)):.6g}'),
        'images_per_second': round(batches.size / train_seconds, 2),
        'data_wait_share': round(feed.waited / train_seconds, 4),
        'seconds': round(time.perf_counter() - began, 3),
    }
    return state, row


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


def _describe(config, train_set, state, devices):
    kind = devices[0].device_kind
    return (
        f'{len(devices)} x {kind}, {num_parameters(state.variables):,} parameters, '
        f'{len(train_set) // config.batch_size} steps of {config.batch_size} images an epoch'
    )


def _describe_progress(run_dir, history, config):
    done = f'continues after epoch {len(history)}' if history else 'starts'
    return f'{run_dir} {done}, {config.epochs} epochs in all'


def _describe_epoch(row, config, task):
    parts = [
        f'epoch {row["epoch"]:>{len(str(config.epochs))}}/{config.epochs}',
        f'loss {row["train_loss"]:.4f}',
        f'val {row["val_loss"]:.4f}',
        *(f'{label} {row[name]:.3f}' for name, label in task.headline.items()),
        f'{row["images_per_second"]:.1f} images/s',
        f'{row["seconds"]:.1f} s',
    ]
    return '  '.join(parts)


def _report(terminal, history, best_step, final_model, task):
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
