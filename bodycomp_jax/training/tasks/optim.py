"""The optimizer and its learning rate schedule."""

import math

import optax

from bodycomp_jax.config import TrainerConfig

ADAM_EPSILON = 1e-7
WARM_UP = 0.05  # of all steps


def learning_rate_fn(config: TrainerConfig, steps_per_epoch: int) -> optax.Schedule:
    """The learning rate after a number of updates.

    'step': the initial rate, x 0.1 after half of the epochs, x 0.01 after three quarters.
    'cosine': linear warm-up over the first 5 % of the steps, then cosine decay to 0.
    """
    steps = config.epochs * steps_per_epoch
    if config.schedule == 'cosine':
        return optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, warmup_steps=int(WARM_UP * steps), decay_steps=steps
        )
    drops = {math.ceil(steps / 2): 0.1, math.ceil(steps * 3 / 4): 0.1}
    return optax.piecewise_constant_schedule(config.learning_rate, drops)


def adam(learning_rate: float | optax.Schedule) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015) with the epsilon of the reference system."""
    return optax.adam(learning_rate, eps=ADAM_EPSILON)
