import dataclasses
import errno
import pickle
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import SIDE

import bodycomp_jax
from bodycomp_jax import load_model
from bodycomp_jax.checkpoints import folder, store
from bodycomp_jax.checkpoints.network import convert
from bodycomp_jax.config import TRAINERS, DenseNetConfig, from_values, to_json, to_values
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.inference.load import fingerprint, short_names
from bodycomp_jax.models.build import variable_shapes


@pytest.fixture(scope='module')
def images(data_dir):
    return np.load(data_dir / 'val_images.npy')[..., 0]


def test_names_are_as_short_as_they_may_be():
    assert short_names(['out/a/final_model', 'out/b']) == ['a', 'b']
    assert short_names(['x/run', 'y/run']) == ['x/run', 'y/run']
    assert short_names(['/x/y/run']) == ['run']


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


@pytest.mark.parametrize('history', ['x', [1], [{'step': 4}], 3])
def test_a_crafted_history_is_refused(finished_run, tmp_path, history):
    checkpoint = tmp_path / 'checkpoints' / '4'
    checkpoint.parent.mkdir()
    fields, progress = to_json(finished_run.config), {'history': history}
    store.write(checkpoint, config=fields, progress=progress, variables={'x': np.zeros(1)})
    with (
        pytest.warns(UserWarning, match='its history is not that of a training'),
        pytest.raises(InputError, match='no valid model found'),
    ):
        load_model(tmp_path)


def test_a_library_that_switches_on_x64_changes_nothing(finished_run):
    slices = np.zeros((1, SIDE, SIDE), np.int16)
    expected, _ = load_model(finished_run.run_dir)(slices)
    with jax.enable_x64(True):
        probabilities, _ = load_model(finished_run.run_dir)(slices)
    assert probabilities.dtype == np.float32
    np.testing.assert_array_equal(probabilities, expected)


def test_several_runs_predict_the_mean_of_their_probabilities(finished_run, images):
    runs = [finished_run.run_dir / 'checkpoints' / step for step in ('4', '6')]
    single = [load_model(run) for run in runs]
    expected = np.mean([model(images)[0] for model in single], axis=0)
    for path in (runs, ','.join(map(str, runs))):
        probabilities, labels = load_model(path)(images)
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
        np.testing.assert_array_equal(labels, probabilities.argmax(-1))
    assert not np.allclose(expected, single[0](images)[0])


def test_members_of_an_ensemble_predict_alone(finished_run, images):
    runs = [finished_run.run_dir / 'checkpoints' / step for step in ('4', '6')]
    members = load_model(runs, test_time_flip=True).members()
    for path, member in zip(runs, members, strict=True):
        alone = load_model(path, test_time_flip=True)
        assert alone.members() == [alone]
        np.testing.assert_array_equal(member(images[:2])[0], alone(images[:2])[0])


def test_a_path_with_a_comma_is_a_path(finished_run, tmp_path, images):
    shutil.copytree(finished_run.run_dir / 'final_model', tmp_path / 'a,b')
    expected, _ = load_model(finished_run.run_dir)(images)
    np.testing.assert_array_equal(load_model(tmp_path / 'a,b')(images)[0], expected)


def test_mirrored_slices_are_predicted_too(finished_run, images):
    plain, flipped = load_model(finished_run.run_dir), images[:, :, ::-1]
    expected = (plain(images)[0] + plain(flipped)[0][:, :, ::-1]) / 2
    model = load_model(finished_run.run_dir, test_time_flip=True)
    for each in (model, pickle.loads(pickle.dumps(model))):
        np.testing.assert_allclose(each(images)[0], expected, atol=1e-6)


def test_networks_that_cannot_predict_together_are_refused(finished_run, tmp_path):
    config = DenseNetConfig(nb_layers_per_block=1, nb_blocks=1, levels=('L3', 'L1'))
    for name, network in (
        ('level', config),
        ('levels', dataclasses.replace(config, levels=('L1', 'L3'))),
        ('thoracic', dataclasses.replace(finished_run.config.network, thoracic_model=True)),
    ):
        fields = to_json(from_values(TRAINERS[network.kind], to_values(network)))
        variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), variable_shapes(network))
        store.write(tmp_path / name, config=fields, variables=variables)
    run_dir = finished_run.run_dir
    for paths, message in (
        ([run_dir, tmp_path / 'level'], 'networks of different kinds'),
        ([run_dir, tmp_path / 'thoracic'], '--nothoracic_model and with --thoracic_model cannot'),
        ([tmp_path / 'level', tmp_path / 'levels'], 'levels=L3,L1 and with --levels=L1,L3 cannot'),
        ([], 'no path of a network'),
        ([run_dir, tmp_path / 'gone'], 'gone: there is no such file or folder'),
    ):
        with pytest.raises(InputError, match=message):
            load_model(paths)
    with pytest.raises(InputError, match='test_time_flip does not apply'):
        load_model(tmp_path / 'level', test_time_flip=True)


def test_networks_are_identified_by_their_content(finished_run, run_copy, tmp_path):
    run, step = str(finished_run.run_dir), sorted((run_copy / 'checkpoints').iterdir())[0]
    of_run = fingerprint(run)
    assert fingerprint(str(run_copy)) == of_run
    assert fingerprint(f'{run},{run}') == f'{of_run},{of_run}'
    assert fingerprint(str(step)) != of_run
    convert(run, str(tmp_path / 'run.hdf5'), {})
    of_file = fingerprint(str(tmp_path / 'run.hdf5'))
    assert of_file != of_run
    shutil.rmtree(run_copy / 'final_model')
    (run_copy / 'checkpoints' / step.name).rename(run_copy / 'final_model')
    assert fingerprint(str(run_copy)) != of_run
    with pytest.raises(InputError, match='nowhere: there is no such file'):
        fingerprint('nowhere')


def test_where_no_model_is_the_message_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match='no model found; give the folder of a run'):
        load_model(tmp_path)


def test_files_that_cannot_be_seen_now_are_not_called_missing(finished_run, monkeypatch):
    def fail(*_):
        raise OSError(errno.ESTALE, 'Stale file handle', 'f')

    monkeypatch.setattr(folder, 'is_model', fail)
    with pytest.raises(RunError, match='f: Stale file handle; the disk or the network drive'):
        load_model(finished_run.run_dir)


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
