import json

import jax
import numpy as np
import pytest
from helpers import SIDE, tiny_config, train_tiny

from bodycomp_jax import load_model
from bodycomp_jax.checkpoints import store
from bodycomp_jax.checkpoints.run import RunCheckpoints, load_pretrained
from bodycomp_jax.config import from_json
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.training.state import initial_state
from bodycomp_jax.training.tasks.segmentation import segmentation_task


def state_of(config):
    task = segmentation_task(config, devices=jax.local_devices(), steps_per_epoch=1)
    return initial_state(task, (SIDE, SIDE))


def progress_of(losses):
    """Progress after an epoch a step, with these validation losses."""
    return {
        'history': [
            {'epoch': i, 'step': i, 'val_loss': loss} for i, loss in enumerate(losses, start=1)
        ]
    }


def warnings_are_errors(text):
    raise AssertionError(text)


def open_checkpoints(run_dir, warn=warnings_are_errors):
    return RunCheckpoints(run_dir, tiny_config(), warn)


def save_epochs(run_dir, losses):
    """Saves an epoch a step, with these validation losses."""
    with open_checkpoints(run_dir) as checkpoints:
        state, _ = checkpoints.restore(state_of(tiny_config()))
        for step in range(1, len(losses) + 1):
            state = state.replace(step=state.step + 1)
            checkpoints.save(state, progress_of(losses[:step]))
        checkpoints.finish()
    return sorted(int(path.name) for path in (run_dir / 'checkpoints').iterdir())


@pytest.mark.parametrize(
    ('losses', 'kept'),
    [
        ([-1.0, -3.0, -2.0, -1.0, -1.5], [2, 4, 5]),
        ([-1.0, -2.0, -3.0], [2, 3]),
        ([float('nan'), -1.0, float('-inf'), float('nan'), -0.5], [2, 4, 5]),
    ],
)
def test_the_latest_two_and_the_best_are_kept(tmp_path, losses, kept):
    assert save_epochs(tmp_path, losses) == kept


def test_what_is_restored_is_what_was_saved(tmp_path):
    state = state_of(tiny_config())
    saved = jax.tree.map(lambda x: x + 1, state)
    progress = progress_of([float('nan')]) | {'sums': {'x': [0.1, 1e-300]}}
    with open_checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state) == (state, None)
        checkpoints.save(saved, progress)
    with open_checkpoints(tmp_path) as checkpoints:
        restored, found = checkpoints.restore(state)
    jax.tree.map(np.testing.assert_array_equal, restored, saved)
    assert str(found) == str(progress)  # NaN is not equal to itself


def test_weights_saved_before_and_after_their_validation_are_one_checkpoint(tmp_path):
    with open_checkpoints(tmp_path) as checkpoints:
        state, _ = checkpoints.restore(state_of(tiny_config()))
        state = state.replace(step=state.step + 1)
        checkpoints.save(state, progress_of([]))
    with open_checkpoints(tmp_path) as checkpoints:
        state, progress = checkpoints.restore(state)
        assert progress == progress_of([])
        checkpoints.save(state, progress_of([-1.0]))
        checkpoints.finish()
        assert checkpoints.restore(state)[1] == progress_of([-1.0])
        assert checkpoints.export_best()[1] == 1


def test_a_run_whose_losses_were_never_finite_has_no_model(tmp_path):
    save_epochs(tmp_path, [float('nan'), float('inf')])
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.restore(state_of(tiny_config()))
        with pytest.raises(RunError, match='no checkpoint with a finite validation loss'):
            checkpoints.export_best()


def test_a_final_model_with_corrupt_arrays_is_written_again(run_copy):
    for path in (run_copy / 'final_model' / 'variables').rglob('d/*'):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    with pytest.raises(InputError, match='no valid model'):
        load_model(run_copy / 'final_model')
    with open_checkpoints(run_copy) as checkpoints:
        checkpoints.restore(state_of(tiny_config()))
        checkpoints.export_best()
    load_model(run_copy / 'final_model')


@pytest.mark.parametrize('failures', [1, 2])
def test_a_failed_save_is_reported_once(tmp_path, monkeypatch, failures):
    """Orbax reports the failure of a save at the next one, and again as it closes."""
    warnings = []
    with open_checkpoints(tmp_path, warnings.append) as checkpoints:
        state, _ = checkpoints.restore(state_of(tiny_config()))
        left = [failures]
        opened = store.open_manager

        def failing(run_dir):
            manager = opened(run_dir)

            failed = []

            def fail(*args, **kwargs):
                if left[0]:
                    left[0] -= 1
                    failed.append(True)
                    raise OSError('disk full')
                return type(manager).save(manager, *args, **kwargs)

            def close():
                type(manager).close(manager)
                if failed:
                    raise OSError('disk full')

            monkeypatch.setattr(manager, 'save', fail)
            monkeypatch.setattr(manager, 'close', close)
            return manager

        monkeypatch.setattr(store, 'open_manager', failing)
        checkpoints._open()
        checkpoints.save(state.replace(step=state.step + 1), progress_of([-1.0]))
        assert len(warnings) == 1
        assert 'disk full' in warnings[0]
        if failures == 2:
            with pytest.raises(RunError, match='last checkpoint could not be saved'):
                checkpoints.finish()
        else:
            checkpoints.finish()
    assert len(warnings) == 1


def test_a_failed_save_is_reported_when_the_training_ends_with_an_error(tmp_path, monkeypatch):
    warnings = []
    with pytest.raises(KeyError), open_checkpoints(tmp_path, warnings.append) as checkpoints:
        checkpoints.restore(state_of(tiny_config()))
        close = checkpoints._manager.close

        def close_and_fail():
            close()
            raise OSError('disk full')

        monkeypatch.setattr(checkpoints._manager, 'close', close_and_fail)
        raise KeyError
    assert len(warnings) == 1
    assert 'disk full' in warnings[0]


def test_the_final_model_is_replaced_only_by_other_weights(run_copy):
    final_model = run_copy / 'final_model'
    before = final_model.stat().st_ino
    with open_checkpoints(run_copy) as checkpoints:
        checkpoints.restore(state_of(tiny_config()))
        checkpoints.export_best()
        assert final_model.stat().st_ino == before
        (final_model / 'checksums' / 'metadata').write_text('{}')
        checkpoints.export_best()
    assert final_model.stat().st_ino != before
    load_model(final_model)
    assert sorted(path.name for path in run_copy.iterdir() if 'final' in path.name) == [
        'final_model'
    ]


def test_args_json_rebuilds_the_network(finished_run):
    args = json.loads((finished_run.run_dir / 'args.json').read_text())
    assert from_json(args) == finished_run.config
    assert args['versions']['jax'] == jax.__version__


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
        jax.tree.map(np.testing.assert_array_equal, variables, load_model(weights).variables)
    assert load_pretrained(str(tmp_path), tiny_config(), set()) == (tiny_config(), None)
    assert load_pretrained(weights, with_defaults, set()) == (config, None)  # that run continues
    other = tiny_config(load_weights=weights, num_convs=2)
    with pytest.raises(InputError, match='this network has --num_convs=1, not --num_convs=2'):
        load_pretrained(str(tmp_path), other, {'num_convs'})
