import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny_config

from bodycomp_jax.training.tasks.segmentation import segmentation_task


def task_of(**changes):
    return segmentation_task(
        tiny_config(**changes), devices=jax.local_devices(), steps_per_epoch=10
    )


def test_the_network_computes_in_float32_on_cpu():
    assert task_of().model.dtype == jnp.float32
    assert task_of(precision='bfloat16').model.dtype == jnp.bfloat16


def test_augmentation_can_be_switched_off():
    example = {'image': jnp.arange(16.0).reshape(4, 4), 'mask': jnp.zeros((4, 4), jnp.uint8)}
    same = task_of(augmentation='none').augment(jax.random.key(0), example)
    np.testing.assert_array_equal(same['image'], example['image'])
    moved = task_of().augment(jax.random.key(0), example)
    assert (moved['image'] != example['image']).any()


def test_the_schedule_covers_all_epochs():
    task = task_of(epochs=10, learning_rate=0.5)
    assert task.learning_rate_fn(49) == pytest.approx(0.5)
    assert task.learning_rate_fn(50) == pytest.approx(0.05)
