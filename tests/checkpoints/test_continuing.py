import shutil

import jax
import numpy as np
import pytest
from helpers import drawn_variables, smooth_images, tiny_config, train_tiny

from bodycomp_jax import load_model
from bodycomp_jax.checkpoints import continuing, store
from bodycomp_jax.checkpoints.continuing import load_pretrained, settled_config
from bodycomp_jax.config import SegmentationConfig, SliceSelectionConfig, from_values, to_json
from bodycomp_jax.errors import InputError
from bodycomp_jax.models.build import build_network
from bodycomp_jax.models.layers.resize import to_square


@pytest.mark.parametrize('lost', ['checkpoints', 'checkpoints and final_model'])
def test_a_run_without_its_checkpoints_does_not_begin_again(run_copy, data_dir, lost):
    for name in lost.split(' and '):
        shutil.rmtree(run_copy / name)
    before = {path: path.stat().st_mtime_ns for path in run_copy.rglob('*')}
    with pytest.raises(InputError, match='the checkpoints of this run are missing'):
        train_tiny(data_dir, run_copy, tiny_config())
    assert {path: path.stat().st_mtime_ns for path in run_copy.rglob('*')} == before


def test_a_run_killed_before_its_first_checkpoint_begins_again(run_copy, data_dir):
    shutil.rmtree(run_copy / 'final_model')
    for checkpoint in (run_copy / 'checkpoints').iterdir():
        shutil.rmtree(checkpoint)
    rows = (run_copy / 'metrics.csv').read_text().splitlines(keepends=True)
    (run_copy / 'metrics.csv').write_text(''.join(rows[:3]))
    assert 'starts' in train_tiny(data_dir, run_copy, tiny_config())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'learning_rate': 0.5}, '--learning_rate=0.01, not --learning_rate=0.5'),
        ({'compression_channels': (4, 9)}, '=4,8, not --compression_channels=4,9'),
        ({'augmentation': 'none'}, '--augmentation=light, not --augmentation=none'),
        ({'noise': 9.0}, 'no --noise, not --noise=9.0'),
        ({'epochs': 2}, '--epochs=3, which may be raised but not lowered to 2'),
    ],
)
def test_a_run_continues_only_with_its_own_hyperparameters(
    finished_run, data_dir, changes, message
):
    before = (finished_run.run_dir / 'args.json').read_text()
    with pytest.raises(InputError, match=message):
        train_tiny(data_dir, finished_run.run_dir, tiny_config(**changes))
    assert (finished_run.run_dir / 'args.json').read_text() == before


def test_a_run_of_the_other_network_is_not_continued(finished_run):
    for options in ({}, {'load_weights': 'synthetic'}):
        config = SliceSelectionConfig(**options)
        with pytest.raises(InputError, match='trains a segmentation network; give another --name'):
            load_pretrained(str(finished_run.run_dir), config, {*options})


def test_a_run_continues_with_the_defaults_that_it_was_started_with(finished_run):
    run_dir = str(finished_run.run_dir)
    now = from_values(SegmentationConfig, {'batch_size': 8})
    continued = settled_config(run_dir, now, {'batch_size'})
    for name in ('preset', *SegmentationConfig.presets['reference']):
        assert getattr(continued, name) == getattr(finished_run.config, name)
    assert continued.loss != now.loss
    given = settled_config(run_dir, now, {'batch_size', 'loss'})
    assert given.loss == now.loss
    assert settled_config(run_dir, now, {'batch_size', 'preset'}) == now


def test_a_slice_selection_of_an_older_version_continues_with_its_loss(monkeypatch):
    of_older = to_json(SliceSelectionConfig())
    del of_older['loss']
    documents = {'config': of_older}
    monkeypatch.setattr(continuing, '_read_latest_documents', lambda run_dir: documents)
    assert settled_config('older', SliceSelectionConfig(), set()).loss == 'mae'


def test_levels_are_those_of_the_data_for_a_new_run_only(finished_run, tmp_path):
    new, of_data = str(tmp_path), {'levels': ['L3']}
    config = tiny_config()
    assert settled_config(new, config, set(), of_data).network.levels == ('L3',)
    own = tiny_config(levels=('T12',))
    assert settled_config(new, own, {'levels'}, of_data).network.levels == ('T12',)
    older = str(finished_run.run_dir)  # begun when the levels were not known
    assert settled_config(older, config, set(), of_data).network.levels == ()
    from_older = tiny_config(load_weights=older)
    assert load_pretrained(new, from_older, set(), of_data=of_data)[0].network.levels == ('L3',)
    from_older = tiny_config(load_weights=older, levels=('T12',))
    found, _ = load_pretrained(new, from_older, {'levels'}, of_data=of_data)
    assert found.network.levels == ('T12',)


def test_pretrained_weights_bring_the_options_of_their_network(finished_run, tmp_path):
    weights = str(finished_run.run_dir)
    config = tiny_config(load_weights=weights, epochs=1)
    with_defaults = tiny_config(
        load_weights=weights,
        epochs=1,
        compression_channels=(9, 9, 9),
        decompression_channels=(9, 9),
    )
    for given, given_config in (({'num_convs'}, config), (set(), with_defaults)):
        loaded, variables = load_pretrained(str(tmp_path), given_config, given)
        assert loaded == config
        jax.tree.map(np.testing.assert_array_equal, (variables,), load_model(weights).variables)
    assert load_pretrained(str(tmp_path), tiny_config(), set()) == (tiny_config(), None)
    assert load_pretrained(weights, with_defaults, set()) == (config, None)  # that run continues
    other = tiny_config(load_weights=weights, num_convs=2)
    with pytest.raises(InputError, match='this network has --num_convs=1, not --num_convs=2'):
        load_pretrained(str(tmp_path), other, {'num_convs'})


@pytest.mark.parametrize(('down', 'up'), [((4, 8), (4,)), ((4,), ())])
def test_a_network_that_resizes_starts_one_of_finer_pixels(tmp_path, down, up):
    coarse = tiny_config(network_size=32, compression_channels=down, decompression_channels=up)
    fields, weights = to_json(coarse), str(tmp_path / 'coarse')
    store.write(weights, variables=drawn_variables(coarse.network), config=fields)

    def start(**options):
        config = tiny_config(load_weights=weights, **options)
        return load_pretrained(str(tmp_path / 'new'), config, {'load_weights', *options})

    config, variables = start(pixel_shuffle=2)
    assert (config.network.network_size, config.network.pixel_shuffle) == (64, 2)
    assert start(pixel_shuffle=2, network_size=64)[0] == config
    images = smooth_images(64) / 2  # inside the window, whose limits apply to the finer pixels
    logits = build_network(config.network).apply(variables, images)
    of_means = build_network(coarse.network).apply(
        drawn_variables(coarse.network), to_square(images, 32)
    )
    expected = of_means.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    for options, message in (
        ({'pixel_shuffle': 2, 'network_size': 32}, 'size=32 becomes one of --network_size=64, not'),
        ({'network_size': 64}, 'this network has --network_size=32, not --network_size=64'),
    ):
        with pytest.raises(InputError, match=message):
            start(**options)


def test_a_network_of_slices_as_they_are_starts_none_of_finer_pixels(finished_run, tmp_path):
    config = tiny_config(load_weights=str(finished_run.run_dir), pixel_shuffle=2)
    with pytest.raises(InputError, match='trained with --network_size'):
        load_pretrained(str(tmp_path), config, {'load_weights', 'pixel_shuffle'})
