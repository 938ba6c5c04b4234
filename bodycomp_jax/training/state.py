"""Everything that changes while a network is trained, in one value."""

import jax
import jax.numpy as jnp
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
        batch_stats=variables['batch_stats'],
        opt_state=task.optimizer.init(variables['params']),
    )


def num_parameters(variables):
    """Number of trained weights."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables['params']))


def _empty_inputs(task, image_shape):
    return task.inputs(jnp.zeros((1, *image_shape), jnp.float32))
