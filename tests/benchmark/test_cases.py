"""What is measured: settings that fit, and a step that trains."""

import jax
import pytest
from helpers import tiny_config

from bodycomp_jax.benchmark.cases import prepared
from bodycomp_jax.benchmark.options import BenchmarkConfig
from bodycomp_jax.errors import InputError


def test_each_step_updates_the_state(training):
    before, step = jax.device_get(training.state.params), int(training.state.step)
    result = training.step(training.batch)
    assert result['skipped'] == 0
    assert training.state.step == step + 1
    after = jax.device_get(training.state.params)
    changed = jax.tree.map(lambda a, b: (a != b).any(), before, after)
    assert all(jax.tree.leaves(changed))


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ({'image_size': 33}, 'invalid --image_size=33: .* multiple of 2$'),
        ({'slices': 7}, 'invalid --slices=7: use at least one batch, 8'),
    ],
)
def test_settings_that_do_not_fit_are_refused(flags, message):
    bench, devices = BenchmarkConfig(**flags), jax.local_devices()[:1]
    with pytest.raises(InputError, match=message), prepared(bench, tiny_config(), devices):
        pass
