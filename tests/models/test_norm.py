import collections

import jax
import jax.numpy as jnp
import pytest

from bodycomp_jax.models.layers.norm import batch_norm

IMAGES = (3, 8, 8, 5)
CHANNELS = IMAGES[-1:]


@pytest.mark.parametrize(
    ('axis_name', 'statistics'),
    [
        (None, [CHANNELS, CHANNELS]),  # sums of x and of x**2
        ('devices', [(2, *CHANNELS)]),  # summed over devices in one array
    ],
)
def test_backward_pass_needs_the_input_and_the_statistics_alone(axis_name, statistics):
    """Fails if JAX renames a primitive that `norm.STATISTICS` lists: it would be recomputed."""
    x = jax.random.normal(jax.random.key(0), (2, *IMAGES))
    norm = batch_norm('norm', platform='cpu', train=True, dtype=jnp.float32, axis_name=axis_name)
    variables = {
        'params': {'scale': jnp.ones(CHANNELS), 'bias': jnp.zeros(CHANNELS)},
        'batch_stats': {'mean': jnp.zeros(CHANNELS), 'var': jnp.ones(CHANNELS)},
    }

    def saved_arrays(x):
        def normalise(x, params):
            y, _ = norm.apply({**variables, 'params': params}, x, mutable=['batch_stats'])
            return y

        _, pullback = jax.vjp(normalise, x, variables['params'])
        return jax.tree.leaves(pullback)

    if axis_name is None:
        shapes = [array.shape for array in saved_arrays(x[0])]
    else:
        shapes = [array.shape[1:] for array in jax.pmap(saved_arrays, axis_name=axis_name)(x)]
    scale = CHANNELS
    assert collections.Counter(shapes) == collections.Counter([IMAGES, scale, *statistics])
