import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest
from helpers import SIDE, tiny_config

from bodycomp_jax import ct
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.models.build import as_inputs
from bodycomp_jax.training import data_parallel
from bodycomp_jax.training.state import initial_state
from bodycomp_jax.training.step import eval_step, train_step
from bodycomp_jax.training.stop_signals import stop_flags
from bodycomp_jax.training.tasks.segmentation import segmentation_task

CONFIG = tiny_config()


@pytest.fixture(scope='module')
def batch(data_dir):
    train_set, _ = open_sets(data_dir, CONFIG)
    return train_set.read(np.arange(8))


@functools.cache
def sgd_task(**changes):
    """SGD, as Adam turns rounding, which depends on the number of devices, into whole steps."""
    task = segmentation_task(tiny_config(**changes), devices=jax.local_devices(), steps_per_epoch=1)
    return dataclasses.replace(task, optimizer=optax.sgd(0.1))


def train_program(task, devices):
    """program(state, batch) -> (state, result)."""
    program = data_parallel.pmap_step(functools.partial(train_step, task), devices)
    flags = data_parallel.on_each_device(stop_flags(None), devices)
    return lambda state, batch: program(state, (data_parallel.shard_batch(batch, devices), flags))


def start(task, devices):
    return data_parallel.replicate(initial_state(task, (SIDE, SIDE)), devices)


def two_steps(batch, num_devices):
    """(state, result, numbers of each example) after two steps on so many devices."""
    devices = jax.local_devices()[:num_devices]
    state, step = start(sgd_task(), devices), train_program(sgd_task(), devices)
    evaluate = data_parallel.pmap_step(functools.partial(eval_step, sgd_task()), devices)
    for _ in range(2):
        state, result = step(state, batch)
    return state, result, evaluate(state, data_parallel.shard_batch(batch, devices))


@pytest.fixture(scope='module')
def on_one_device(batch):
    return two_steps(batch, 1)


@pytest.mark.parametrize('num_devices', [2, 8])
def test_devices_do_not_change_the_result(batch, on_one_device, num_devices):
    results = two_steps(batch, num_devices)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5),
        jax.device_get(results),
        jax.device_get(on_one_device),
    )


def test_every_device_holds_the_same_state(batch):
    state, _, _ = two_steps(batch, 8)
    for leaf in jax.tree.leaves(state):
        copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(copies) == 8
        for copy in copies[1:]:
            np.testing.assert_array_equal(copy, copies[0])


def test_a_step_changes_everything_it_should(on_one_device):
    state, result, _ = on_one_device
    initial = initial_state(sgd_task(), (SIDE, SIDE))
    assert state.step == 2
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), state.variables, initial.variables)
    assert all(jax.tree.leaves(changed))
    assert result['loss']['pixels'] == 8 * SIDE * SIDE


def test_the_loss_sums_of_examples_add_up_to_those_of_the_batch(batch, on_one_device):
    """In evaluation mode, of the same weights."""
    state, _, examples = on_one_device

    @jax.jit
    def of_batch(variables):
        outputs = sgd_task().model.apply(variables, as_inputs(batch['image']))
        return sgd_task().loss_sums(outputs, batch)

    expected = of_batch(state.variables)
    assert examples['loss'].keys() == expected.keys()
    for name, values in examples['loss'].items():
        assert len(values) == 8
        np.testing.assert_allclose(np.asarray(values).sum(0), expected[name], rtol=1e-5)


def test_a_step_in_bfloat16_is_close_to_one_in_float32(batch):
    devices = jax.local_devices()[:1]
    losses, changes = [], []
    for precision in ('float32', 'bfloat16'):
        task = sgd_task(precision=precision)
        before = start(task, devices)
        after, result = train_program(task, devices)(before, batch)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(after.variables)} == {'float32'}
        losses.append(float(task.loss(result['loss'])))
        changes.append(np.asarray(after.params - before.params))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    error = np.linalg.norm(changes[1] - changes[0]) / np.linalg.norm(changes[0])
    assert error < 0.3


@pytest.mark.parametrize('level', ['light', 'strong'])
def test_augmented_pixels_do_not_depend_on_the_number_of_devices(batch, level):
    task = sgd_task(augmentation=level)

    def augmented(seed, batch):
        indices = data_parallel.example_indices(len(batch['image']))
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(indices)
        return data_parallel.gather_examples(jax.vmap(task.augment)(keys, batch))

    results = []
    for num_devices in (1, 8):
        devices = jax.local_devices()[:num_devices]
        program = data_parallel.pmap_step(augmented, devices)
        results.append(jax.device_get(program(3, data_parallel.shard_batch(batch, devices))))
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_a_step_whose_loss_is_not_finite_is_skipped_on_every_device(batch):
    devices = jax.local_devices()
    image = batch['image'].astype(np.float32)
    image[5, 3, 3] = np.nan  # on one device only
    state = start(sgd_task(), devices)
    after, result = train_program(sgd_task(), devices)(state, {**batch, 'image': image})
    assert result['skipped'] == 1
    assert after.step == 1
    jax.tree.map(np.testing.assert_array_equal, after.replace(step=state.step), state)
    assert not any(leaf.any() for leaf in jax.tree.leaves(result['loss']))


def test_slices_without_a_labelled_pixel_change_the_batch_statistics_alone(batch):
    devices = jax.local_devices()[:1]
    state = start(sgd_task(), devices)
    unknown = {**batch, 'mask': np.full_like(batch['mask'], ct.NOT_LABELLED)}
    after, result = train_program(sgd_task(), devices)(state, unknown)
    assert (result['skipped'], result['loss']['pixels']) == (0, 0)
    np.testing.assert_array_equal(after.params, state.params)
    assert (after.batch_stats != state.batch_stats).all()
