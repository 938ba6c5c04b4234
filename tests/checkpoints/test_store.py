import errno
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tensorstore as ts
from helpers import ROOT, SIDE, tiny_config, train_tiny

from bodycomp_jax import load_model
from bodycomp_jax.checkpoints import store
from bodycomp_jax.checkpoints.folder import CorruptCheckpointError
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
    'byte flipped in the headers': lambda c: flip_a_byte(c / 'training' / '_METADATA'),
    'byte flipped in the history': lambda c: flip_a_byte(largest_file(c / 'progress')),
    'byte flipped in the checksums': lambda c: flip_a_byte(largest_file(c / 'checksums')),
    'another value in the weights': lambda c: rewrite(c, 'variables'),
    'another value in the optimizer': lambda c: rewrite(c, 'training'),
    'step emptied': lambda c: (shutil.rmtree(c), c.mkdir()),
}


def initial():
    task = segmentation_task(tiny_config(), devices=jax.local_devices(), steps_per_epoch=2)
    return initial_state(task, (SIDE, SIDE))


def restore(run_dir):
    """(step that is restored, warnings)."""
    warnings = []
    with RunCheckpoints(run_dir, tiny_config(), warnings.append) as checkpoints:
        state, _ = checkpoints.restore(initial())
    return int(state.step), warnings


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


def test_without_a_valid_checkpoint_nothing_is_touched(run_copy, data_dir):
    for step in os.listdir(run_copy / 'checkpoints'):
        flip_a_byte_of_every_array(run_copy / 'checkpoints' / step)
    before = sorted(path for path in run_copy.rglob('*') if path.name != '.lock')
    with pytest.raises(RunError, match='no checkpoint of this run is valid'):
        train_tiny(data_dir, run_copy, tiny_config())
    assert sorted(path for path in run_copy.rglob('*') if path.name != '.lock') == before


def test_a_corrupt_model_is_not_loaded(run_copy):
    flip_a_byte_of_every_array(run_copy / 'final_model')
    with pytest.raises(InputError, match='no valid model'):
        load_model(run_copy / 'final_model')
    with pytest.warns(UserWarning, match=r'checkpoints/6 is loaded, .*final_model: '):
        load_model(run_copy)


def values():
    return {'variables': {'x': np.arange(6, dtype=np.float32)}}


@pytest.mark.parametrize(
    'name',
    ['out[1]', 'lr=[0.01]', 'a*b', 'a?b', 'back\\slash', 'a b', 'line\nbreak', '\udcff', 'é'],
)
def test_checkpoints_are_at_home_in_any_folder(tmp_path, name):
    folder = str(tmp_path / name / name)
    os.makedirs(os.path.dirname(folder))
    store.write(os.path.join(os.path.dirname(folder), 'new'), **values(), config={'a': 1})
    os.rename(os.path.join(os.path.dirname(folder), 'new'), folder)
    found = store.read(folder, 'config', arrays=values())
    np.testing.assert_array_equal(found['variables']['x'], values()['variables']['x'])
    assert found['config'] == {'a': 1}


def test_a_run_is_at_home_in_any_folder(tmp_path):
    run_dir = tmp_path / 'out[1]' / 'back\\slash'
    run_dir.mkdir(parents=True)
    with RunCheckpoints(str(run_dir), tiny_config(), print) as checkpoints:
        state, _ = checkpoints.restore(initial())
        checkpoints.save(state.replace(step=state.step + 1), {'history': []})
        checkpoints.finish()
    assert restore(str(run_dir)) == (1, [])
    assert os.listdir(run_dir / 'checkpoints') == ['1']


@pytest.fixture
def checkpoint(tmp_path):
    store.write(str(tmp_path / 'model'), **values(), config={'a': 1})
    return tmp_path / 'model'


def read_error(checkpoint):
    with pytest.raises(CorruptCheckpointError) as caught:
        store.read(str(checkpoint), 'config', arrays=values())
    return str(caught.value)


def link_to(target):
    def change(path):
        path.unlink()
        path.symlink_to(target)

    return change


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (link_to('/dev/zero'), 'is a link to /dev/zero; copy the model with its files'),
        (link_to('/etc/hosts'), 'is a link to /etc/hosts; copy the model with its files'),
        (pipe, 'is not a regular file'),
        (lambda path: os.truncate(path, 200 << 20), 'has 210 MB, expected at most'),
    ],
)
@pytest.mark.parametrize('file', ['config/metadata', 'variables/_METADATA'])
def test_only_regular_files_of_a_checkpoint_are_read(checkpoint, file, change, message):
    change(checkpoint / file)
    assert message in read_error(checkpoint)


def test_a_file_that_was_not_fetched_is_named(checkpoint):
    pointer = checkpoint / 'variables' / 'manifest.ocdbt'
    pointer.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n')
    assert f'{pointer}: a Git LFS pointer; fetch the file itself' in read_error(checkpoint)


def test_a_link_in_any_folder_is_named_by_its_own_path(checkpoint):
    folder = checkpoint.rename(checkpoint.parent / 'lr=[0.01]')
    link_to('/etc/hosts')(folder / 'config' / 'metadata')
    assert read_error(folder).startswith(f'{folder}/config/metadata is a link to /etc/hosts')


def test_a_folder_that_is_a_link_is_not_followed(checkpoint, tmp_path):
    (checkpoint / 'variables').rename(tmp_path / 'elsewhere')
    (checkpoint / 'variables').symlink_to(tmp_path / 'elsewhere')
    assert 'is a link to' in read_error(checkpoint)


@pytest.mark.parametrize('key', ['shape', 'chunks'])
def test_headers_of_huge_arrays_are_refused_before_anything_is_read(checkpoint, key):
    database = {'driver': 'ocdbt', 'base': f'file://{checkpoint}/variables/'}
    items = ts.KvStore.open(database).result()
    header = json.loads(items.read('x/.zarray').result().value)
    items.write('x/.zarray', json.dumps(header | {key: [10**12]}).encode()).result()
    assert 'the array x has shape' in read_error(checkpoint)


def test_brackets_in_a_path_and_in_that_of_temporary_files_are_no_pattern(tmp_path, monkeypatch):
    parent = tmp_path / 'lr=[0.1]'
    parent.mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(parent))
    store.write(str(parent / 'model'), variables={'x': np.arange(3.0, dtype=np.float32)})
    shapes = {'variables': {'x': jax.ShapeDtypeStruct((3,), np.float32)}}
    found = store.read(str(parent / 'model'), arrays=shapes)
    np.testing.assert_array_equal(found['variables']['x'], [0, 1, 2])


def test_descriptions_of_very_many_arrays_are_refused(checkpoint):
    header = checkpoint / 'variables' / '_METADATA'
    header.write_text(header.read_text() + ' ' * 10000)
    assert 'describes more than 1 arrays' in read_error(checkpoint)


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (ValueError('DATA_LOSS: [OS error 5: EIO Input/output error]'), 'Input/output error; the'),
        (
            ValueError("UNKNOWN: Failed to open [os_error_code='28']"),
            'No space left on device; free',
        ),
        (OSError(errno.ESTALE, 'Stale file handle'), 'Stale file handle; the disk or the network'),
        (PermissionError(errno.EACCES, 'Permission denied', 'f'), r'f: Permission denied; change'),
        (MemoryError(), 'not enough memory'),
    ],
)
def test_what_cannot_be_read_now_is_not_called_corrupt(run_copy, monkeypatch, error, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(ocp.Checkpointer, 'restore', fail)
    with pytest.raises(RunError, match=message):
        restore(run_copy)
    with pytest.raises(RunError, match=message):
        load_model(run_copy)
    assert sorted(os.listdir(run_copy / 'checkpoints')) == ['4', '6']
    assert not (run_copy / 'corrupt_checkpoints').exists()


WITHOUT_DESCRIPTORS = """
import os, pathlib, resource, sys
import test_store as t
state, limits = t.initial(), resource.getrlimit(resource.RLIMIT_NOFILE)
used = len(os.listdir('/proc/self/fd'))
with t.RunCheckpoints(pathlib.Path(sys.argv[1]), t.tiny_config(), print) as checkpoints:
    resource.setrlimit(resource.RLIMIT_NOFILE, (used, limits[1]))
    try:
        checkpoints.restore(state)
    except (t.InputError, t.RunError, OSError) as error:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        print(error)
"""


@pytest.mark.processes
def test_a_lack_of_file_descriptors_is_not_called_corrupt(run_copy):
    """Not by a mock: Orbax and its storage report it in ways of their own, and leave coroutines."""
    here = pathlib.Path(__file__).parent
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_DESCRIPTORS, str(run_copy)],
        env={**os.environ, 'PYTHONPATH': f'{here}:{here.parent}:{ROOT}'},
        capture_output=True,
        text=True,
    )
    assert re.search('Too many open files|too many files', done.stdout), done.stderr
    kept = {name for name in os.listdir(run_copy / 'checkpoints') if not name.startswith('.')}
    assert kept == {'4', '6'}


def test_a_disk_that_takes_no_checkpoint_is_refused(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EDQUOT, 'Disk quota exceeded')

    monkeypatch.setattr(ocp.Checkpointer, 'save', fail)
    with pytest.raises(InputError, match='Disk quota exceeded; free some of your quota'):
        store.refuse_unsuitable_disk(str(tmp_path))
    assert os.listdir(tmp_path / 'checkpoints') == []
