import json

import jax
import numpy as np
import pytest
from helpers import SIDE, tiny_config

from bodycomp_jax.training.state import Packing, Progress, initial_state, num_parameters
from bodycomp_jax.training.tasks.segmentation import segmentation_task


def state_of(variables=None, **changes):
    task = segmentation_task(tiny_config(**changes), devices=jax.local_devices(), steps_per_epoch=1)
    return initial_state(task, (SIDE, SIDE), variables)


def test_the_seed_decides_the_initial_weights():
    kernels = [
        state_of(seed=seed).variables['params']['compression_0']['conv_0']['kernel']
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()


def test_given_weights_are_taken_as_they_are():
    other = state_of(seed=1)
    state = state_of(other.variables)
    assert state.step == 0
    jax.tree.map(np.testing.assert_array_equal, state.variables, other.variables)


def test_kernels_are_drawn_glorot_uniform():
    kernel = state_of().variables['params']['compression_center']['conv_0']['kernel']
    bound = np.sqrt(6 / (9 * 4 + 9 * 8))
    assert 0.9 * bound < np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.15)


def test_parameters_are_counted_without_statistics():
    assert num_parameters(state_of().variables) == (
        36 + 288 + 12 * 4 * 9 + 2 * (4 + 8 + 4) + 4 * 4 + 4
    )


def test_a_tree_is_packed_into_a_vector_and_unpacked():
    tree = {'b': np.arange(6.0, dtype='f4').reshape(2, 3), 'a': {'c': np.float32([7, 8]), 'd': {}}}
    packing = Packing.of(tree)
    vector = packing.pack(tree)
    assert sorted(vector.tolist()) == [0, 1, 2, 3, 4, 5, 7, 8]
    jax.tree.map(np.testing.assert_array_equal, packing.unpack(vector), tree)
    assert packing == Packing.of(jax.tree.map(np.zeros_like, tree))
    assert Packing.of({}).unpack(Packing.of({}).pack({})) == {}


def test_a_state_is_restored_from_its_trees():
    state, other = state_of(seed=0), state_of(seed=1)
    moments = jax.tree.map(lambda x: x + 1, other.opt_state)
    other = other.replace(step=other.step + 3, opt_state=moments)
    assert jax.tree.structure(other.training['opt_state'][0].mu) == jax.tree.structure(
        other.variables['params']
    )
    restored = state.with_arrays(other.variables, other.training)
    jax.tree.map(np.testing.assert_array_equal, restored, other)


def step_of(value, skipped=0):
    return {'loss': {'pixels': np.float64(value), 'label': np.full(2, value)}, 'skipped': skipped}


def test_progress_adds_in_float64_and_counts_what_was_skipped():
    progress = Progress(data={})
    for value, skipped in ((2.0**24 + 1, 0), (0.0, 1), (0.0, 1), (1.0, 0), (0.0, 1)):
        progress.add(step_of(value, skipped))
    assert progress.sums['pixels'] == 2**24 + 2
    assert (progress.steps_done, progress.skipped, progress.skipped_in_a_row) == (5, 3, 1)
    assert progress.total_skipped == 3
    progress.end_epoch({'epoch': 1, 'skipped_steps': 3})
    assert (progress.steps_done, progress.skipped, progress.sums) == (0, 0, None)
    assert progress.skipped_in_a_row == 1  # across epochs
    progress.add(step_of(0.0, 1))
    assert progress.total_skipped == 4


def test_progress_survives_json_to_the_bit():
    progress = Progress(data={'train': {'shape': [1, 2]}}, history=[{'val_loss': 0.1 + 0.2}])
    progress.add(step_of(1 / 3))
    again = Progress.from_json(json.loads(json.dumps(progress.to_json())))
    assert again.history == progress.history
    assert again.data == progress.data
    fields = {**progress.to_json(), 'of_a_later_version': 1}
    del fields['skipped_in_a_row']  # as in a record of a version without it
    assert Progress.from_json(fields).history == progress.history
    again.add(step_of(0.1))
    progress.add(step_of(0.1))
    jax.tree.map(np.testing.assert_array_equal, again.sums, progress.sums)
