"""Everything that changes while a network is trained."""

import dataclasses
import itertools
import math
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from bodycomp_jax.models.build import as_inputs
from bodycomp_jax.training.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Packing:
    """The order in which the float32 arrays of a tree lie in one vector.

    A step on a vector is a handful of kernels, on a hundred arrays it is hundreds.
    """

    structure: Any
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, tree: Any) -> Self:
        """That of a tree."""
        leaves, structure = jax.tree.flatten(tree)
        return cls(structure, tuple(leaf.shape for leaf in leaves))

    def pack(self, tree: Any) -> jax.Array:
        """The vector of a tree of arrays with this structure and these shapes."""
        leaves = self.structure.flatten_up_to(tree)
        none = jnp.zeros(0)  # of an empty tree
        return jnp.concatenate([none, *(jnp.ravel(leaf) for leaf in leaves)])

    def unpack(self, vector: Any) -> Any:
        """The tree of a vector, on the host or on devices."""
        sizes = [math.prod(shape) for shape in self.shapes]
        ends = itertools.accumulate(sizes)
        return self.structure.unflatten(
            vector[end - size : end].reshape(shape)
            for size, end, shape in zip(sizes, ends, self.shapes, strict=True)
        )


class TrainState(struct.PyTreeNode):
    """The state after `step` steps; everything else derives from the config and the step.

    Attributes:
      step: how many.
      params, batch_stats: vectors.
      opt_state: of the optimizer of the vector of the parameters.
      of_params, of_stats: how trees are packed into the vectors.
    """

    step: jax.Array
    params: jax.Array
    batch_stats: jax.Array
    opt_state: optax.OptState
    of_params: Packing = struct.field(pytree_node=False)
    of_stats: Packing = struct.field(pytree_node=False)

    @property
    def variables(self) -> dict[str, Any]:
        """What the network needs to predict, as trees."""
        return {
            'params': self.of_params.unpack(self.params),
            'batch_stats': self.of_stats.unpack(self.batch_stats),
        }

    @property
    def training(self) -> dict[str, Any]:
        """What a training needs besides to go on, as trees."""
        moments = jax.tree.map(lambda x: self.of_params.unpack(x) if x.ndim else x, self.opt_state)
        return {'step': self.step, 'opt_state': moments}

    def with_arrays(self, variables: dict[str, Any], training: dict[str, Any]) -> Self:
        """This state with other `variables` and `training`."""
        opt_state = jax.tree.map(
            lambda vector, found: self.of_params.pack(found) if vector.ndim else found,
            self.opt_state,
            training['opt_state'],
        )
        return self.replace(
            step=training['step'],
            params=self.of_params.pack(variables['params']),
            batch_stats=self.of_stats.pack(variables['batch_stats']),
            opt_state=opt_state,
        )


@dataclasses.dataclass
class Progress:
    """The record of a run besides its `TrainState`.

    Attributes:
      data: {split: fingerprint of the set}.
      started_from: the fingerprint of the network of `--load_weights`, None without one.
      arithmetic: what the bits of the result depend on besides, see `runtime.arithmetic`.
      history: a row of numbers per finished epoch.
      steps_done: of the current epoch.
      sums: the loss sums over these steps, float64; None before the first step.
      skipped: how many of these steps had no finite loss and gradient.
      skipped_in_a_row: how many such steps came last.
    """

    data: dict[str, Any]
    started_from: str | None = None
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
        variables = jax.jit(lambda: task.model.init(key, as_inputs(images)))()
    params = variables['params']
    stats = variables.get('batch_stats', {})  # without batch norms there are none
    of_params, of_stats = Packing.of(params), Packing.of(stats)
    vector = of_params.pack(params)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=vector,
        batch_stats=of_stats.pack(stats),
        opt_state=task.optimizer.init(vector),
        of_params=of_params,
        of_stats=of_stats,
    )


def num_parameters(variables: dict[str, Any]) -> int:
    """Number of trained weights."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
