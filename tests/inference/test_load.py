import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import SIDE

import bodycomp_jax
from bodycomp_jax import load_model
from bodycomp_jax.checkpoints import store
from bodycomp_jax.config import to_json
from bodycomp_jax.errors import InputError


@pytest.mark.processes
def test_a_run_of_two_devices_is_loaded_on_one(finished_run):
    """A program of its own, which sees one device."""
    program = (
        'import sys\n'
        'from bodycomp_jax import load_model\n'
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
    best = load_model(finished_run.run_dir / 'final_model')
    assert best.config == finished_run.config.network
    of_run, _ = load_model(str(finished_run.run_dir))(slices)
    np.testing.assert_array_equal(of_run, best(slices)[0])
    load_model(finished_run.run_dir / 'checkpoints' / '6')(slices)


def test_a_run_that_is_not_finished_gives_its_best_checkpoint(finished_run, run_copy):
    shutil.rmtree(run_copy / 'final_model')
    best = load_model(finished_run.run_dir).variables
    with pytest.warns(UserWarning, match=r'has no final_model yet; .*, its best so far'):
        loaded = load_model(run_copy)
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, best)


def test_a_crafted_config_is_refused(finished_run, tmp_path):
    fields = to_json(finished_run.config)
    for i, changes in enumerate([{'num_convs': 3000}, {'network': 'x'}, {'num_convs': 'x'}]):
        model = tmp_path / str(i)
        store.write(model, config=fields | changes, variables={'x': np.zeros(1)})
        with pytest.raises(InputError, match=r'no valid model found .*its config: '):
            load_model(model)


def test_a_library_that_switches_on_x64_changes_nothing(finished_run):
    slices = np.zeros((1, SIDE, SIDE), np.int16)
    expected, _ = load_model(finished_run.run_dir)(slices)
    with jax.enable_x64(True):
        probabilities, _ = load_model(finished_run.run_dir)(slices)
    assert probabilities.dtype == np.float32
    np.testing.assert_array_equal(probabilities, expected)


def test_where_no_model_is_the_message_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match='no model found; give the folder of a run'):
        load_model(tmp_path)


def test_the_package_has_no_other_attributes():
    with pytest.raises(AttributeError, match="no attribute 'load_models'"):
        bodycomp_jax.load_models  # noqa: B018


def test_overrides_must_agree_with_the_network(finished_run):
    model = load_model(finished_run.run_dir, num_convs=1.0, compression_channels=[4, 8])
    assert model.config == finished_run.config.network
    with pytest.raises(InputError, match='--num_convs=1, not --num_convs=2'):
        load_model(finished_run.run_dir, num_convs=2)
    with pytest.raises(InputError, match='--threshold does not apply to a segmentation network'):
        load_model(finished_run.run_dir, threshold=10.0)
