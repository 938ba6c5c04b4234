"""A training step and an evaluation step, as one device sees them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bodycomp_jax.models.build import as_inputs
from bodycomp_jax.training.data_parallel import (
    example_indices,
    gather_examples,
    sum_over_devices,
)
from bodycomp_jax.training.state import TrainState
from bodycomp_jax.training.tasks.task import Task

Batch = dict[str, jax.Array]


def train_step(
    task: Task, state: TrainState, inputs: tuple[Batch, jax.Array]
) -> tuple[TrainState, dict[str, Any]]:
    """One update.

    Args:
      task: what is trained.
      state: the same on every device.
      inputs: (this device's rows of the batch, its process's stop flags).

    Returns:
      (the next state, {'loss': the loss sums of the whole batch, 'skipped': 0,
      'stop_flags': their sum over all devices}), the same on every device. If the loss or a
      gradient is not finite, the weights stay as they are, the loss sums are 0 and 'skipped' is 1.
    """
    batch, stop_flags = inputs
    batch = _augmented(task, state.step, batch)
    variables = state.variables

    def loss_sums(params):
        outputs, changed = task.model.apply(
            {**variables, 'params': params},
            as_inputs(batch['image']),
            train=True,
            mutable=['batch_stats'],
        )
        return task.loss_sums(outputs, batch), changed.get('batch_stats', {})

    # The chain rule through the sums: each device adds its part of the gradient.
    own_sums, pull_back, batch_stats = jax.vjp(loss_sums, variables['params'], has_aux=True)
    sums = sum_over_devices(own_sums)
    loss, slopes = jax.value_and_grad(task.loss)(sums)
    gradient = sum_over_devices(state.of_params.pack(pull_back(slopes)[0]))
    update, opt_state = task.optimizer.update(gradient, state.opt_state, state.params)
    updated = state.replace(
        params=optax.apply_updates(state.params, update),
        batch_stats=state.of_stats.pack(batch_stats),
        opt_state=opt_state,
    )
    finite = jnp.isfinite(loss) & jnp.isfinite(gradient).all()
    state = jax.tree.map(functools.partial(jnp.where, finite), updated, state)
    return state.replace(step=state.step + 1), {
        'loss': jax.tree.map(lambda x: jnp.where(finite, x, 0), sums),
        'skipped': jnp.where(finite, 0, 1),
        'stop_flags': sum_over_devices(stop_flags),
    }


def eval_step(task: Task, state: TrainState, batch: Batch) -> dict[str, dict[str, jax.Array]]:
    """{'loss': loss sums, 'metrics': example metrics}, {name: `[B, ...]`} of the whole batch.

    The loss sums are those of each example alone. Arguments as of `train_step`.
    """
    outputs = task.model.apply(state.variables, as_inputs(batch['image']))

    def loss_sums(*example):
        return task.loss_sums(*jax.tree.map(lambda x: x[None], example))

    return gather_examples(
        {
            'loss': jax.vmap(loss_sums)(outputs, batch),
            'metrics': task.example_metrics(outputs, batch),
        }
    )


def _augmented(task: Task, step: jax.Array, batch: Batch) -> Batch:
    """The batch, augmented by keys that depend on the seed, the step and the example alone."""
    key = jax.random.fold_in(jax.random.key(task.seed), step)
    indices = example_indices(len(batch['image']))
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(indices)
    return jax.vmap(task.augment)(keys, batch)
