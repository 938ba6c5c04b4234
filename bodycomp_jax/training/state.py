"""Everything that changes while a network is trained."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from bodycomp_jax.training.tasks.task import Task


class TrainState(struct.PyTreeNode):
    """The state after `step` steps; everything else derives from the config and the step."""

    step: jax.Array
    params: dict
    batch_stats: dict
    opt_state: optax.OptState

    @property
    def variables(self) -> dict[str, Any]:
        """What the network needs to predict."""
        return {'params': self.params, 'batch_stats': self.batch_stats}


@dataclasses.dataclass
class Progress:
    """The record of a run besides its `TrainState`.

    Attributes:
      data: {split: fingerprint of the set}.
      arithmetic: what the bits of the result depend on besides, see `runtime.arithmetic`.
      history: a row of numbers per finished epoch.
      steps_done: of the current epoch.
      sums: the loss sums over these steps, float64; None before the first step.
      skipped: how many of these steps had no finite loss and gradient.
      skipped_in_a_row: how many such steps came last.
    """

    data: dict[str, Any]
    arithmetic: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    steps_done: int = 0
    sums: dict[str, np.ndarray] | None = None
    skipped: int = 0
    skipped_in_a_row: int = 0

    def add(self, result: dict[str, Any]) -> None:
        """Records the result of a `train_step`."""
        self.steps_done += 1
        self.skipped += int(result['skipped'])
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if result['skipped'] else 0
        sums = jax.tree.map(np.float64, result['loss'])
        self.sums = sums if self.sums is None else jax.tree.map(np.add, self.sums, sums)

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Starts the next epoch."""
        self.history.append(row)
        self.steps_done, self.sums, self.skipped = 0, None, 0

    @property
    def total_skipped(self) -> int:
        """Skipped steps of the whole run."""
        return self.skipped + sum(row['skipped_steps'] for row in self.history)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        fields = dataclasses.asdict(self)
        return {**fields, 'sums': self.sums and {n: x.tolist() for n, x in self.sums.items()}}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> 'Progress':
        """The inverse of `to_json`; also reads what another version wrote."""
        names = {field.name for field in dataclasses.fields(cls)}
        known = {name: value for name, value in fields.items() if name in names}
        sums = known.get('sums')
        return cls(**{**known, 'sums': sums and {n: np.asarray(x) for n, x in sums.items()}})


def initial_state(
    task: Task, image_shape: tuple[int, ...], variables: dict[str, Any] | None = None
) -> TrainState:
    """The state before the first step.

    Args:
      task: what is trained.
      image_shape: `(H, W)`.
      variables: pretrained ones; None to draw them from the task's seed.
    """
    if variables is None:
        key, images = jax.random.key(task.seed), jnp.zeros((1, *image_shape), jnp.float32)
        variables = jax.jit(lambda: task.model.init(key, task.preprocess(images)))()
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables['params'],
        batch_stats=variables.get('batch_stats', {}),  # without batch norms there are none
        opt_state=task.optimizer.init(variables['params']),
    )


def num_parameters(variables: dict[str, Any]) -> int:
    """Number of trained weights."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
