import os
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from helpers import SIDE, tiny_config, train_tiny

from bodycomp_jax import load_model
from bodycomp_jax.checkpoints.run import RunCheckpoints
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.training.state import initial_state
from bodycomp_jax.training.tasks.segmentation import segmentation_task


def largest_file(folder):
    return max((p for p in folder.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def flip_a_byte_of_every_array(folder):
    for path in folder.rglob('d/*'):
        flip_a_byte(path)


def rewrite(folder, item):
    """Changes one bit of one array in a way that Orbax cannot see, as flipped bytes often are."""
    with ocp.StandardCheckpointer() as checkpointer:
        arrays = jax.device_get(checkpointer.restore(folder / item))
        leaf = next(x for x in jax.tree.leaves(arrays) if x.size > 8)
        changed = leaf.copy()
        changed.view(np.uint32).flat[3] ^= 1
        arrays = jax.tree.map(lambda x: changed if x is leaf else x, arrays)
        checkpointer.save(folder / item, arrays, force=True)


DAMAGES = {
    'truncated': lambda c: os.truncate(largest_file(c), 100),
    'emptied': lambda c: os.truncate(largest_file(c), 0),
    'file deleted': lambda c: largest_file(c).unlink(),
    'item deleted': lambda c: shutil.rmtree(c / 'training'),
    'byte flipped in the weights': lambda c: flip_a_byte_of_every_array(c / 'variables'),
    'byte flipped in the optimizer': lambda c: flip_a_byte_of_every_array(c / 'training'),
    'byte flipped in the history': lambda c: flip_a_byte(largest_file(c / 'progress')),
    'byte flipped in the checksums': lambda c: flip_a_byte(largest_file(c / 'checksums')),
    'another value in the weights': lambda c: rewrite(c, 'variables'),
    'another value in the optimizer': lambda c: rewrite(c, 'training'),
    'step emptied': lambda c: (shutil.rmtree(c), c.mkdir()),
}


def restore(run_dir):
    """(step that is restored, warnings)."""
    task = segmentation_task(tiny_config(), devices=jax.local_devices(), steps_per_epoch=2)
    warnings = []
    with RunCheckpoints(run_dir, tiny_config(), warnings.append) as checkpoints:
        state, _ = checkpoints.restore(initial_state(task, (SIDE, SIDE)))
    return int(state.step), warnings


orbax_threads_outlive_their_loop = pytest.mark.filterwarnings(
    'ignore::pytest.PytestUnraisableExceptionWarning'
)


@orbax_threads_outlive_their_loop
@pytest.mark.parametrize('damage', DAMAGES)
def test_a_corrupt_checkpoint_is_set_aside_and_the_previous_one_is_used(run_copy, damage):
    DAMAGES[damage](run_copy / 'checkpoints' / '6')
    step, warnings = restore(run_copy)
    assert step == 4
    assert len(warnings) == 1
    assert 'checkpoints/6 is corrupt' in warnings[0]
    assert os.listdir(run_copy / 'corrupt_checkpoints') == ['6']
    assert '6' not in os.listdir(run_copy / 'checkpoints')


def test_stray_files_among_the_checkpoints_are_ignored(run_copy):
    (run_copy / 'checkpoints' / 'notes').mkdir()
    (run_copy / 'checkpoints' / 'file').touch()
    assert restore(run_copy) == (6, [])


@orbax_threads_outlive_their_loop
def test_without_a_valid_checkpoint_nothing_is_touched(run_copy, data_dir):
    for step in os.listdir(run_copy / 'checkpoints'):
        flip_a_byte_of_every_array(run_copy / 'checkpoints' / step)
    before = sorted(path for path in run_copy.rglob('*') if path.name != '.lock')
    with pytest.raises(RunError, match='no checkpoint of this run is valid'):
        train_tiny(data_dir, run_copy, tiny_config())
    assert sorted(path for path in run_copy.rglob('*') if path.name != '.lock') == before


@orbax_threads_outlive_their_loop
def test_a_corrupt_model_is_not_loaded(run_copy):
    flip_a_byte_of_every_array(run_copy / 'final_model')
    with pytest.raises(InputError, match='no valid model'):
        load_model(run_copy / 'final_model')
    load_model(run_copy)  # a valid checkpoint instead
