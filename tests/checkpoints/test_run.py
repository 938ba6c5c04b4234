import contextlib
import errno
import json
import shutil

import jax
import numpy as np
import pytest
from helpers import SIDE, tiny_config

from bodycomp_jax import load_model
from bodycomp_jax.checkpoints import store
from bodycomp_jax.checkpoints.run import RunCheckpoints
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
        with pytest.raises(RunError, match='no valid checkpoint with a finite validation loss'):
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

        @contextlib.contextmanager
        def failing(run_dir):
            with opened(run_dir) as manager:
                yield make_fail(manager)

        def make_fail(manager):
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


@pytest.mark.parametrize('metrics', ['{', '[1]', '{"val_loss": 9.0}', None])
def test_the_best_is_kept_whatever_becomes_of_the_copy_of_its_metrics(tmp_path, metrics):
    assert save_epochs(tmp_path, [-3.0, -2.0, -1.0]) == [1, 2, 3]
    for path in tmp_path.glob('checkpoints/*/metrics/metrics'):
        path.unlink() if metrics is None else path.write_text(metrics)
    with open_checkpoints(tmp_path) as checkpoints:
        state, _ = checkpoints.restore(state_of(tiny_config()))
        checkpoints.save(state.replace(step=state.step + 1), progress_of([-3.0, -2.0, -1.0, 0.0]))
    assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == ['1', '3', '4']


def test_checkpoints_that_cannot_be_opened_are_an_error_with_a_remedy(tmp_path):
    save_epochs(tmp_path, [-1.0])
    (tmp_path / 'checkpoints' / '1' / '_CHECKPOINT_METADATA').write_text('[]')
    with (
        open_checkpoints(tmp_path) as checkpoints,
        pytest.raises(RunError, match=r'cannot be opened .* move it to another'),
    ):
        checkpoints.restore(state_of(tiny_config()))


def test_a_checkpoint_under_the_name_of_another_step_is_set_aside(tmp_path):
    save_epochs(tmp_path, [-1.0, -2.0])
    shutil.copytree(tmp_path / 'checkpoints' / '1', tmp_path / 'checkpoints' / '9')
    (tmp_path / 'checkpoints' / '99').symlink_to(tmp_path / 'missing')
    warnings = []
    with open_checkpoints(tmp_path, warnings.append) as checkpoints:
        state, _ = checkpoints.restore(state_of(tiny_config()))
    assert int(state.step) == 2
    assert '99 is corrupt' in warnings[0]
    assert 'its name must be 1); moved to' in warnings[1]
    assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == ['1', '2']


def test_a_checkpoint_that_cannot_be_removed_is_a_warning(tmp_path, monkeypatch):
    """Such as one on a network drive that another program is reading."""
    warnings = []
    rmtree = shutil.rmtree

    def fail(path, *args, **kwargs):
        if 'checkpoints/' in str(path) and str(path)[-1].isdigit():
            raise OSError(errno.ENOTEMPTY, 'Directory not empty', str(path))
        rmtree(path, *args, **kwargs)

    monkeypatch.setattr(shutil, 'rmtree', fail)
    with open_checkpoints(tmp_path, warnings.append) as checkpoints:
        state, _ = checkpoints.restore(state_of(tiny_config()))
        for step in range(1, 5):
            state = state.replace(step=state.step + 1)
            checkpoints.save(state, progress_of([-1.0, -2.0, -3.0, -4.0][:step]))
        checkpoints.finish()
        assert checkpoints.export_best()[1] == 4
    assert warnings
    assert all('an old checkpoint could not be removed' in each for each in warnings)
    assert 'Directory not empty' in warnings[0]


def test_checkpoints_that_are_moved_while_the_run_trains_are_missed(tmp_path):
    warnings = []
    with open_checkpoints(tmp_path, warnings.append) as checkpoints:
        state, _ = checkpoints.restore(state_of(tiny_config()))
        for step in range(1, 3):
            state = state.replace(step=state.step + 1)
            checkpoints.save(state, progress_of([-2.0, -1.0][:step]))
            checkpoints._wait()
            if step == 1:
                (tmp_path / 'checkpoints').rename(tmp_path / 'moved')
        checkpoints.finish()
        assert checkpoints.export_best()[1] == 2
    assert len(warnings) == 1
    assert 'checkpoints/1 was deleted or moved while the run trained' in warnings[0]


def test_a_final_model_that_is_a_link_is_replaced_and_its_target_kept(run_copy, tmp_path):
    final_model, elsewhere = run_copy / 'final_model', tmp_path / 'elsewhere'
    final_model.rename(elsewhere)
    final_model.symlink_to(elsewhere)
    load_model(final_model)
    (elsewhere / 'checksums' / 'metadata').write_text('{}')
    with open_checkpoints(run_copy) as checkpoints:
        checkpoints.restore(state_of(tiny_config()))
        checkpoints.export_best()
    assert not final_model.is_symlink()
    load_model(final_model)
    assert (elsewhere / 'checksums' / 'metadata').read_text() == '{}'
    assert not list(run_copy.glob('.final*'))


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


def test_what_the_user_puts_beside_the_final_model_stays(run_copy):
    for name in ('final_model.epoch6', 'final_model.old', 'final_model_new'):
        shutil.copytree(run_copy / 'final_model', run_copy / name)
    (run_copy / 'final_model' / 'checksums' / 'metadata').write_text('{}')
    with open_checkpoints(run_copy) as checkpoints:
        checkpoints.restore(state_of(tiny_config()))
        checkpoints.export_best()
    for name in ('final_model', 'final_model.epoch6', 'final_model.old', 'final_model_new'):
        load_model(run_copy / name)


def test_a_replacement_of_the_final_model_that_was_killed_is_ended(run_copy):
    final_model, old = run_copy / 'final_model', run_copy / '.final_model.old'
    new = run_copy / '.final_model.new.orbax-checkpoint-tmp'
    for left, kept in (((old, new), True), ((final_model, old, new), False)):
        for path in left:
            if not path.exists():
                new.mkdir() if path == new else shutil.copytree(final_model, path)
        if kept:
            shutil.rmtree(final_model)  # killed between the two renames
        with open_checkpoints(run_copy) as checkpoints:
            checkpoints.restore(state_of(tiny_config()))
        load_model(final_model)
        assert not old.exists() and not new.exists()


def test_a_checkpoint_of_another_optimizer_is_not_called_corrupt(run_copy):
    state = state_of(tiny_config())
    other = state.replace(opt_state=(*state.opt_state, {'more': np.float32(0)}))
    with (
        open_checkpoints(run_copy) as checkpoints,
        pytest.raises(RunError, match=r'more is missing.* Continue with the versions'),
    ):
        checkpoints.restore(other)
    assert not (run_copy / 'corrupt_checkpoints').exists()


def test_the_last_checkpoint_is_read_back_before_success(tmp_path):
    with open_checkpoints(tmp_path) as checkpoints:
        state, _ = checkpoints.restore(state_of(tiny_config()))
        checkpoints.save(state.replace(step=state.step + 1), progress_of([-1.0]))
        checkpoints._manager.wait_until_finished()
        (tmp_path / 'checkpoints' / '1' / 'progress' / 'metadata').write_text('{}')
        with pytest.raises(RunError, match='last checkpoint could not be saved'):
            checkpoints.finish()


def test_args_json_rebuilds_the_network(finished_run):
    args = json.loads((finished_run.run_dir / 'args.json').read_text())
    assert from_json(args) == finished_run.config
    assert args['versions']['jax'] == jax.__version__
