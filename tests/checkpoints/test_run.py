import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import SIDE, tiny_config, train_tiny

from bodycomp_jax.checkpoints import run
from bodycomp_jax.checkpoints.run import Checkpoints, load_model
from bodycomp_jax.config import from_json
from bodycomp_jax.errors import InputError, WorkError
from bodycomp_jax.training.state import initial_state
from bodycomp_jax.training.tasks import segmentation


def state_of(config):
    task = segmentation.task(config, devices=jax.local_devices(), steps_per_epoch=1)
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
    return Checkpoints(run_dir, tiny_config(), warn)


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
        with pytest.raises(WorkError, match='no checkpoint with a finite validation loss'):
            checkpoints.export_best()


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


@pytest.fixture
def run_copy(finished_run, tmp_path):
    shutil.copytree(finished_run.run_dir, tmp_path / 'copy')
    return tmp_path / 'copy'


def test_a_run_of_two_devices_is_loaded_on_one(finished_run):
    """A program of its own, which sees one device."""
    program = (
        'import sys\n'
        'from bodycomp_jax.checkpoints.run import load_model\n'
        'import jax\n'
        'assert len(jax.devices()) == 1\n'
        'load_model(sys.argv[1] + "/checkpoints/6")\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program, finished_run.run_dir], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_run_a_checkpoint_and_the_final_model_can_be_loaded(finished_run):
    slices = np.zeros((1, SIDE, SIDE), np.int16)
    best = run.load_model(finished_run.run_dir / 'final_model')
    assert best.config == finished_run.config
    of_run, _ = load_model(str(finished_run.run_dir))(slices)
    np.testing.assert_array_equal(of_run, best(slices)[0])
    load_model(finished_run.run_dir / 'checkpoints' / '6')(slices)


def test_a_run_that_is_not_finished_gives_its_latest_checkpoint(finished_run, tmp_path):
    run_dir = tmp_path / 'run'
    shutil.copytree(finished_run.run_dir, run_dir, ignore=lambda *_: ['final_model'])
    latest = load_model(finished_run.run_dir / 'checkpoints' / '6')
    jax.tree.map(np.testing.assert_array_equal, load_model(run_dir).variables, latest.variables)


def test_where_no_model_is_the_message_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match='there is no model; give the folder of a run'):
        load_model(tmp_path)


def test_args_json_rebuilds_the_network(finished_run):
    args = json.loads((finished_run.run_dir / 'args.json').read_text())
    assert from_json(args) == finished_run.config
    assert args['versions']['jax'] == jax.__version__


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'learning_rate': 0.5}, '--learning_rate 0.01, not 0.5'),
        ({'compression_channels': (4, 9)}, '--compression_channels 4,8, not 4,9'),
        ({'augment': False}, '--augment on, not off'),
        ({'epochs': 2}, '--epochs 3, which may grow but not shrink to 2'),
    ],
)
def test_a_run_goes_on_with_its_own_hyperparameters_only(finished_run, data_dir, changes, message):
    before = (finished_run.run_dir / 'args.json').read_text()
    with pytest.raises(InputError, match=message):
        train_tiny(data_dir, finished_run.run_dir, tiny_config(**changes))
    assert (finished_run.run_dir / 'args.json').read_text() == before


def test_starting_weights_must_be_of_the_same_network(finished_run, tmp_path):
    weights = str(finished_run.run_dir)
    config = tiny_config(load_weights=weights, epochs=1)
    loaded = run.starting_weights(tmp_path, config)
    jax.tree.map(np.testing.assert_array_equal, loaded, load_model(weights).variables)
    assert run.starting_weights(tmp_path, tiny_config()) is None
    assert run.starting_weights(weights, config) is None  # that run continues
    with pytest.raises(InputError, match='this network has --num_convs 1, not 2'):
        run.starting_weights(tmp_path, tiny_config(load_weights=weights, num_convs=2))
