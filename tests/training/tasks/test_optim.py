import jax.numpy as jnp
import pytest

from bodycomp_jax.config import SegmentationConfig
from bodycomp_jax.training.tasks import optim


def rate_of(schedule, epochs, steps_per_epoch):
    config = SegmentationConfig(schedule=schedule, learning_rate=0.5, epochs=epochs)
    return optim.learning_rate_fn(config, steps_per_epoch)


def test_step_schedule_drops_after_a_half_and_three_quarters():
    rate = rate_of('step', 8, 10)
    for step, expected in ((0, 0.5), (39, 0.5), (40, 0.05), (59, 0.05), (60, 0.005), (79, 0.005)):
        assert rate(step) == pytest.approx(expected)


@pytest.mark.parametrize(('epochs', 'steps_per_epoch'), [(1, 1), (1, 7), (2, 1), (3, 5)])
def test_the_first_step_of_any_run_has_the_initial_rate(epochs, steps_per_epoch):
    assert rate_of('step', epochs, steps_per_epoch)(0) == pytest.approx(0.5)


def test_cosine_schedule_rises_then_falls_to_zero():
    rate = rate_of('cosine', 10, 20)
    values = [float(rate(step)) for step in range(201)]
    assert values[0] == 0
    assert max(values) == values[10] == pytest.approx(0.5)
    assert values[105] == pytest.approx(0.25)
    assert values[200] == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize('gradient', [3.0, 1e-7])
def test_adam_is_the_formula_of_the_paper_with_the_epsilon_of_the_reference(gradient):
    optimizer = optim.adam(0.01)
    updates, _ = optimizer.update(jnp.array(gradient), optimizer.init(jnp.array(1.0)))
    assert updates == pytest.approx(-0.01 * gradient / (gradient + 1e-7), rel=1e-4)
