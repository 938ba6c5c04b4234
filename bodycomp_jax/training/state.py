"""Everything that changes while a network is trained."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct


class TrainState(struct.PyTreeNode):
    """The state after `step` updates. What is not in it derives from the config and the step."""

    step: jax.Array
    params: dict
    batch_stats: dict
    opt_state: optax.OptState

    @property
    def variables(self):
        """What the network needs to predict."""
        return {'params': self.params, 'batch_stats': self.batch_stats}


@dataclasses.dataclass
class Progress:
    """What a run has to tell besides its `TrainState`.

    Attributes:
      data: what identifies the sets it is trained and validated on.
      history: a row of numbers for each finished epoch.
      steps_done: of the epoch under way.
      sums: the loss sums over these steps, nested dicts of float64 arrays; None before the first.
      skipped: how many of these steps had no finite loss and gradient.
      skipped_in_a_row: how many such steps came last.
    """

    data: dict
    history: list[dict] = dataclasses.field(default_factory=list)
    steps_done: int = 0
    sums: dict | None = None
    skipped: int = 0
    skipped_in_a_row: int = 0

    def __post_init__(self):
        self.sums = _as_arrays(self.sums)

    def add(self, step):
        """Counts a step: {'loss': sums, 'skipped': 0 or 1}."""
        self.steps_done += 1
        self.skipped += int(step['skipped'])
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if step['skipped'] else 0
        first = self.sums is None
        self.sums = step['loss'] if first else jax.tree.map(np.add, self.sums, step['loss'])

    def end_epoch(self, row):
        """Begins a new epoch."""
        self.history.append(row)
        self.steps_done, self.sums, self.skipped = 0, None, 0

    def to_json(self):
        """The fields as plain JSON values, from which `Progress(**fields)` is made again."""
        fields = dataclasses.asdict(self)
        return {**fields, 'sums': jax.tree.map(lambda x: x.tolist(), self.sums)}


def initial_state(task, image_shape, variables=None):
    """The state before the first step.

    Args:
      task: a `Task`.
      image_shape: of one example's image, without the axis B.
      variables: weights to start from; None draws them from the task's seed.
    """
    if variables is None:
        key = jax.random.key(task.seed)
        variables = jax.jit(lambda: task.model.init(key, _empty_inputs(task, image_shape)))()
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables['params'],
        batch_stats=variables.get('batch_stats', {}),  # without batch norms there are none
        opt_state=task.optimizer.init(variables['params']),
    )


def num_parameters(variables):
    """Number of trained weights."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables['params']))


def _empty_inputs(task, image_shape):
    return task.inputs(jnp.zeros((1, *image_shape), jnp.float32))


def _as_arrays(values):
    """JSON's nested dicts of numbers and lists, as nested dicts of float64 arrays."""
    if isinstance(values, dict):
        return {name: _as_arrays(value) for name, value in values.items()}
    return None if values is None else np.asarray(values, np.float64)
