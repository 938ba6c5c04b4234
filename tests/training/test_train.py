import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest
from helpers import SIDE, events_of, read_rows, tiny_config

from bodycomp_jax.checkpoints.run import load_model
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.training import data_parallel, train
from bodycomp_jax.training.state import initial_state
from bodycomp_jax.training.stop_signals import vote
from bodycomp_jax.training.tasks import segmentation

CONFIG = tiny_config()


@pytest.fixture(scope='module')
def batch(data_dir):
    train_set, _ = open_sets(data_dir, CONFIG)
    weights = np.array([1] * 7 + [0], np.float32)
    return train_set.read(np.arange(8), weights)


@functools.cache
def sgd_task():
    """Two steps of SGD tell device counts apart; Adam would turn rounding into whole steps."""
    task = segmentation.task(CONFIG, devices=jax.local_devices(), steps_per_epoch=1)
    return dataclasses.replace(task, optimizer=optax.sgd(0.1))


def two_steps(batch, num_devices):
    """(state, loss sums, evaluation sums) after two steps on so many devices."""
    devices = jax.local_devices()[:num_devices]
    state = data_parallel.replicate(initial_state(sgd_task(), (SIDE, SIDE)), devices)
    step = data_parallel.parallel(functools.partial(train.train_step, sgd_task()), devices)
    evaluate = data_parallel.parallel(functools.partial(train.eval_step, sgd_task()), devices)
    for _ in range(2):
        (state, sums), _ = step(state, data_parallel.split(batch, devices), no_votes(devices))
    evaluated, _ = evaluate(state, data_parallel.split(batch, devices), no_votes(devices))
    return state, sums, evaluated


def no_votes(devices):
    return data_parallel.on_each_device(vote(None), devices)


@pytest.fixture(scope='module')
def on_one_device(batch):
    return two_steps(batch, 1)


@pytest.mark.parametrize('num_devices', [2, 4, 8])
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


def test_a_step_changes_everything_it_should(batch, on_one_device):
    state, sums, _ = on_one_device
    initial = initial_state(sgd_task(), (SIDE, SIDE))
    assert state.step == 2
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), state.variables, initial.variables)
    assert all(jax.tree.leaves(changed))
    assert sums['loss']['pixels'] == 7 * SIDE * SIDE  # one of the eight slices is padding


def test_augmented_pixels_do_not_depend_on_the_number_of_devices(batch):
    def augmented(state, batch):
        indices = data_parallel.example_indices(len(batch['weight']))
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(3)))(indices)
        moved = jax.vmap(sgd_task().augment)(keys, batch)
        return jax.lax.all_gather((moved['image'], moved['mask']), data_parallel.AXIS)

    results = []
    for num_devices in (1, 2, 8):
        devices = jax.local_devices()[:num_devices]
        program = data_parallel.parallel(augmented, devices)
        moved, _ = program({}, data_parallel.split(batch, devices), no_votes(devices))
        image, mask = jax.device_get(moved)
        results.append((image.reshape(8, SIDE, SIDE), mask.reshape(8, SIDE, SIDE)))
    for result in results[1:]:
        jax.tree.map(np.testing.assert_array_equal, result, results[0])


@pytest.mark.parametrize('num_devices', [1, 8])
def test_a_step_whose_loss_is_not_finite_is_skipped_on_every_device(batch, num_devices):
    devices = jax.local_devices()[:num_devices]
    image = batch['image'].astype(np.float32)
    image[5, 3, 3] = np.nan  # on one device only
    state = data_parallel.replicate(initial_state(sgd_task(), (SIDE, SIDE)), devices)
    step = data_parallel.parallel(functools.partial(train.train_step, sgd_task()), devices)
    batch = data_parallel.split({**batch, 'image': image}, devices)
    (after, sums), _ = step(state, batch, no_votes(devices))
    assert sums['skipped'] == 1
    assert after.step == 1
    jax.tree.map(np.testing.assert_array_equal, after.replace(step=state.step), state)
    assert not any(leaf.any() for leaf in jax.tree.leaves(sums['loss']))


def test_results_come_one_behind_and_none_is_lost():
    started = []

    def steps():
        for i in range(3):
            started.append(i)
            yield {'pixels': np.float32(i)}

    for i, result in enumerate(train._one_behind(steps())):
        assert result == {'pixels': i}
        assert result['pixels'].dtype == np.float64
        assert len(started) == min(i + 2, 3)


def test_metrics_count_every_validation_slice_once(data_dir, finished_run):
    """The row of the last epoch, computed again slice by slice."""
    rows = read_rows(finished_run.run_dir / 'metrics.csv')
    model = load_model(finished_run.run_dir / 'checkpoints' / rows[-1]['step'])
    images, masks = (np.load(data_dir / f'val_{kind}.npy')[..., 0] for kind in ('images', 'masks'))
    _, labels = model(images)
    for label, tissue in enumerate(finished_run.config.tissues, start=1):
        predicted, labelled = labels == label, masks == label
        dice = 2 * (predicted & labelled).sum() / (predicted.sum() + labelled.sum())
        assert float(rows[-1][f'dice_{tissue}']) == pytest.approx(dice, abs=1e-6)
        error = np.abs(predicted.sum((1, 2)) - labelled.sum((1, 2))).sum() / labelled.sum()
        assert float(rows[-1][f'area_error_percent_{tissue}']) == pytest.approx(
            100 * error, rel=1e-6
        )


def test_the_terminal_tells_what_was_found_and_where_the_model_is(finished_run):
    printed = finished_run.printed
    assert 'train  21 slices of 32 x 32, images int16, masks uint8: background' in printed
    assert '2 x cpu in float32, 808 parameters, 2 steps of 8 images an epoch' in printed
    assert printed.count('images/s') == 3
    assert 'Dice visceral fat' in printed
    assert f"load_model('{finished_run.run_dir}/final_model')" in printed
    assert 'the same command with --name finished continues' in printed


def test_every_epoch_has_its_numbers_and_its_pictures(finished_run):
    rows = read_rows(finished_run.run_dir / 'metrics.csv')
    tissues = finished_run.config.tissues
    assert list(rows[0]) == [
        'epoch', 'step', 'train_loss', 'val_loss',
        *(f'dice_{tissue}' for tissue in tissues),
        *(f'slice_dice_{tissue}' for tissue in tissues),
        *(f'area_error_percent_{tissue}' for tissue in tissues),
        'skipped_steps', 'learning_rate', 'images_per_second', 'data_wait_share', 'seconds',
    ]  # fmt: skip
    assert [row['step'] for row in rows] == ['2', '4', '6']
    assert [float(row['learning_rate']) for row in rows] == [0.01, 0.001, 0.0001]
    values = [
        (event.step, value)
        for event in events_of(finished_run.run_dir / 'tensorboard_log')
        for value in event.summary.value
    ]
    for i in range(4):
        assert [step for step, v in values if v.tag == f'validation_{i}'] == [1, 2, 3]
    shown = [v.simple_value for _, v in values if v.tag == 'val_loss']
    np.testing.assert_allclose(shown, [float(row['val_loss']) for row in rows], rtol=1e-6)
