"""The optimizer and its learning rate as a function of the step."""

import math

import optax

ADAM_EPSILON = 1e-7
WARM_UP = 0.05  # of all steps


def schedule(kind, learning_rate, epochs, steps_per_epoch):
    """step -> learning rate.

    'step': the initial rate, x 0.1 after half of the epochs, x 0.01 after three quarters.
    'cosine': rises linearly over the first 5 % of the steps, then falls to 0 as a cosine.
    """
    steps = epochs * steps_per_epoch
    if kind == 'cosine':
        return optax.warmup_cosine_decay_schedule(
            0.0, learning_rate, warmup_steps=int(WARM_UP * steps), decay_steps=steps
        )
    drops = {math.ceil(steps / 2): 0.1, math.ceil(steps * 3 / 4): 0.1}
    return optax.piecewise_constant_schedule(learning_rate, drops)


def adam(learning_rate):
    """Adam (Kingma & Ba 2015) with the reference system's epsilon; takes a rate or a schedule."""
    return optax.adam(learning_rate, eps=ADAM_EPSILON)
