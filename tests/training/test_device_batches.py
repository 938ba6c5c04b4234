import types

import jax
import numpy as np
import pytest
from helpers import SIDE, final_state, read_rows, tiny_config, train_tiny

from bodycomp_jax.data.batches import evaluation_batches
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.errors import InputError
from bodycomp_jax.training import device_batches
from bodycomp_jax.training.device_batches import (
    cached_batches,
    plan_device_cache,
    streamed_batches,
)

CONFIG = tiny_config()
SLICE = SIDE * SIDE * (2 + 1)  # bytes with its labels
TIMING = ('images_per_second', 'data_wait_share', 'seconds')


def test_cached_batches_equal_streamed_batches(data_dir, monkeypatch):
    monkeypatch.setattr(device_batches, 'PART_BYTES', 4 * SLICE)
    devices = jax.local_devices()[:4]
    for dataset in open_sets(data_dir, CONFIG):
        stream, cache = (make(dataset, 8, devices) for make in (streamed_batches, cached_batches))
        for rows in [np.array([4, 1, 0, 2, 3, 4, 4, 1]), *evaluation_batches(len(dataset), 8)]:
            streamed, cached = stream(rows), cache(rows)
            assert streamed.keys() == cached.keys() == {'image', 'mask'}
            for name, array in streamed.items():
                assert (array.dtype, array.sharding) == (cached[name].dtype, cached[name].sharding)
                np.testing.assert_array_equal(array, cached[name])


def test_a_cached_set_is_uploaded_in_parts(data_dir, monkeypatch):
    """21 slices by five go in five parts, of which the last has four from the one before."""
    monkeypatch.setattr(device_batches, 'PART_BYTES', 5 * SLICE)
    dataset = open_sets(data_dir, CONFIG)[0]
    read, asked = dataset.read, []
    monkeypatch.setattr(dataset, 'read', lambda rows: asked.append(rows.tolist()) or read(rows))
    cached_batches(dataset, 8, jax.local_devices()[:2])
    parts = sorted(rows for rows in asked if len(rows) > 1)
    assert [(rows[0], rows[-1]) for rows in parts] == [(0, 4), (5, 9), (10, 14), (15, 19), (16, 20)]


def test_training_from_a_cached_set_ends_in_the_same_bits(data_dir, tmp_path, finished_run):
    printed = train_tiny(data_dir, tmp_path / 'run', CONFIG, data_cache='device')
    assert 'cached on each device' in printed
    assert 'streamed from disk' in finished_run.printed
    folders = (tmp_path / 'run', finished_run.run_dir)
    rows, expected = (read_rows(folder / 'metrics.csv') for folder in folders)
    for row in (*rows, *expected):
        for column in TIMING:
            del row[column]
    assert rows == expected
    states = [final_state(folder, CONFIG) for folder in folders]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_sets_are_cached_if_they_fit(data_dir, monkeypatch):
    sets = open_sets(data_dir, CONFIG)
    needed = (21 + 5) * SLICE
    cpu, gpu = ([types.SimpleNamespace(platform=name)] for name in ('cpu', 'gpu'))
    for free, wanted, devices, expected in [
        (2 * needed, 'auto', gpu, True),
        (2 * needed - 2, 'auto', gpu, False),
        (2 * needed, 'auto', cpu, False),
        (2 * needed, 'device', cpu, True),
        (2 * needed, 'host', gpu, False),
    ]:
        monkeypatch.setattr(device_batches, 'free_memory', lambda devices, free=free: free)
        assert plan_device_cache(wanted, sets, devices)[0] == expected
    monkeypatch.setattr(device_batches, 'free_memory', lambda devices: needed)
    with pytest.raises(InputError, match='use --data_cache=host'):
        plan_device_cache('device', sets, gpu)
    assert not plan_device_cache('auto', sets, gpu, draws=True)[0]
    with pytest.raises(InputError, match='--data_cache=device: synthetic slices are drawn'):
        plan_device_cache('device', sets, gpu, draws=True)
