"""Networks that come with the package: made of a run, and loaded by a name."""

import json
import shutil

import jax
import numpy as np
import pytest
from helpers import SIDE, drawn_variables, tiny_config

from bodycomp_jax import load_model
from bodycomp_jax.checkpoints import shipped, shipping, store
from bodycomp_jax.checkpoints.continuing import load_pretrained
from bodycomp_jax.checkpoints.network import fingerprint, load_network
from bodycomp_jax.checkpoints.shipping import ship
from bodycomp_jax.config import to_json
from bodycomp_jax.data import phantom
from bodycomp_jax.errors import InputError
from bodycomp_jax.models.build import variable_shapes

CONFIG = tiny_config(synthetic=True, seed=5, batch_size=16, epochs=100)


def write_run(run_dir, config=CONFIG, change=lambda variables: variables, started_from=None):
    """The folder of a run as far as it is shipped."""
    variables = change(drawn_variables(config.network))
    store.write(str(run_dir / 'final_model'), variables=variables, config=to_json(config))
    args = {
        'versions': {'jax': '0.10'},
        'device_kind': 'cpu',
        'data_dir': '/home/someone',
        'started_from': started_from,
    }
    (run_dir / 'args.json').write_text(json.dumps(args))
    return run_dir


@pytest.fixture
def networks(tmp_path, monkeypatch):
    """The folder of a package without networks."""
    monkeypatch.setattr(shipped, 'NETWORKS', tmp_path / 'networks')
    return tmp_path / 'networks'


@pytest.fixture
def shipped_run(tmp_path, networks):
    """A run whose network is shipped."""
    ship(str(write_run(tmp_path / 'run')), networks)
    return tmp_path / 'run'


def test_a_shipped_network_predicts_as_the_run(shipped_run):
    slices = np.stack([phantom.draw_slice(seed, SIDE)[0] for seed in range(3)])
    probabilities, _ = load_model('synthetic/segmentation')(slices)
    expected, _ = load_model(shipped_run / 'final_model')(slices)
    assert probabilities.std() > 0.1
    assert 0 < np.abs(probabilities - expected).max() < 1e-3


def test_kernels_are_stored_in_16_bits_and_loaded_in_32(shipped_run, networks):
    stored = store.read(
        str(networks / 'segmentation'),
        arrays=shipped.packed_shapes(variable_shapes(CONFIG.network)),
    )['variables']
    variables = load_network('synthetic', kind='segmentation').variables
    expected = drawn_variables(CONFIG.network)

    def check(packed, found, leaf):
        assert packed.dtype == (np.int16 if leaf.ndim > 1 else np.float32)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, leaf, rtol=0, atol=np.abs(leaf).max() / 60000)

    jax.tree.map(check, stored, variables, expected)


def test_a_channel_of_zeros_stays_one():
    variables = {'params': {'kernel': np.zeros((3, 3, 1, 2), np.float32)}}
    back = shipped.unpacked(shipped.packed(variables))
    np.testing.assert_array_equal(back['params']['kernel'], 0)


def test_the_account_says_how_the_network_was_made_and_nothing_of_the_machine(
    shipped_run, networks
):
    account = store.read(str(networks / 'segmentation'), 'account')['account']
    assert account == {
        'seed': 5,
        'command': (
            'bin/train_segmentation.py MODEL_OUTPUT_DIR --compression_channels=4,8 '
            '--decompression_channels=4 --augmentation=light --preset=reference --schedule=step '
            '--synthetic --seed=5 --loss=dice'
        ),
        'device': 'cpu',
        'versions': {'jax': '0.10'},
    }


def test_a_run_from_the_shipped_network_replaces_it_with_the_accounts_of_both(
    shipped_run, networks, tmp_path
):
    account = store.read(str(networks / 'segmentation'), 'account')['account']
    start = {'fingerprint': fingerprint('synthetic/segmentation'), **account}
    config = tiny_config(
        synthetic=True, load_weights='synthetic', preset='recommended', learning_rate=0.001
    )
    ship(str(write_run(tmp_path / 'next', config, started_from=start['fingerprint'])), networks)
    now = store.read(str(networks / 'segmentation'), 'account')['account']
    assert now['started_from'] == start
    assert '--learning_rate=0.001 --preset=recommended ' in now['command']
    assert ' --load_weights=synthetic --synthetic' in now['command']
    with pytest.raises(InputError, match=f'{start["fingerprint"]}, which is not here; check out'):
        ship(str(tmp_path / 'next'), networks)
    with pytest.raises(InputError, match='does not say from which version'):
        ship(str(write_run(tmp_path / 'older', config)), networks)


def test_a_checkpoint_of_a_run_is_shipped_with_its_step(networks, tmp_path):
    run_dir = write_run(tmp_path / 'run')
    checkpoint = run_dir / 'checkpoints' / '400'
    checkpoint.parent.mkdir()
    (run_dir / 'final_model').rename(checkpoint)
    ship(f'{checkpoint}/', networks)
    account = store.read(str(networks / 'segmentation'), 'account')['account']
    assert (account['step'], account['seed']) == (400, CONFIG.seed)
    np.testing.assert_array_equal(
        load_network('synthetic/segmentation').variables['params']['final_conv']['bias'],
        drawn_variables(CONFIG.network)['params']['final_conv']['bias'],
    )


def test_no_file_of_a_shipped_network_names_a_folder(shipped_run, networks):
    files = [path.read_bytes() for path in networks.rglob('*') if path.is_file()]
    assert len(files) > 5
    assert not any(str(networks.parent).encode() in content for content in files)


def test_a_network_replaces_the_one_that_was_shipped(shipped_run, networks, tmp_path):
    ship(
        str(write_run(tmp_path / 'new', change=lambda v: jax.tree.map(np.zeros_like, v))), networks
    )
    assert [each.name for each in networks.iterdir()] == ['segmentation']
    assert (
        not load_network('synthetic/segmentation').variables['params']['final_conv']['bias'].any()
    )


def test_training_starts_from_the_shipped_network_of_its_kind(shipped_run):
    given = {'load_weights'}
    config, variables = load_pretrained('none', tiny_config(load_weights='synthetic'), given)
    assert config.network == CONFIG.network
    assert variables['params'].keys() == drawn_variables(CONFIG.network)['params'].keys()
    other = tiny_config(load_weights='synthetic', compression_channels=(2, 8))
    with pytest.raises(InputError, match='--compression_channels=4,8, not --compress'):
        load_pretrained('none', other, given | {'compression_channels'})


def test_a_path_that_exists_goes_before(shipped_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = tiny_config(synthetic=True, compression_channels=(2, 8))
    write_run(tmp_path / 'synthetic', other)
    assert load_network('synthetic', kind='segmentation').config == other.network
    assert load_network('synthetic/segmentation').config == CONFIG.network


@pytest.mark.parametrize(
    ('path', 'kind', 'message'),
    [
        ('synthetic', None, 'give synthetic/segmentation or synthetic/slice_selection'),
        ('synthetic/slice_selection', None, 'comes without a slice_selection network; train one'),
        ('synthetic', 'slice_selection', 'comes without a slice_selection network; train one'),
        ('synthetic/segmentation', 'slice_selection', 'a segmentation network; give the path of a'),
        ('synthetic/other', None, 'there is no such file or folder'),
    ],
)
def test_other_names_are_refused(shipped_run, path, kind, message):
    with pytest.raises(InputError, match=message):
        load_network(path, kind=kind)


def test_damaged_weights_are_refused(shipped_run, networks):
    path = max(networks.rglob('d/*'), key=lambda file: file.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match='no valid model found'):
        load_network('synthetic/segmentation')


@pytest.mark.parametrize(
    ('config', 'change', 'message'),
    [
        (tiny_config(), None, 'trained with --nosynthetic and no --load_weights; only networks'),
        (tiny_config(synthetic=True, load_weights='x'), None, 'and --load_weights=x; only'),
        (CONFIG, lambda v: jax.tree.map(lambda x: x * np.inf, v), 'run: non-finite weights'),
    ],
)
def test_other_networks_are_not_shipped(tmp_path, networks, config, change, message):
    run_dir = write_run(tmp_path / 'run', config, change or (lambda variables: variables))
    with pytest.raises(InputError, match=message):
        ship(str(run_dir), networks)
    assert not networks.exists()


def test_networks_that_are_too_large_are_not_shipped(tmp_path, networks, shipped_run, monkeypatch):
    before = store.read(str(networks / 'segmentation'), 'account')
    monkeypatch.setattr(shipping, 'MAX_BYTES', 1000)
    with pytest.raises(InputError, match='MB are more than 0 MB of all networks'):
        ship(str(shipped_run), networks)
    assert store.read(str(networks / 'segmentation'), 'account') == before
    assert [each.name for each in networks.iterdir()] == ['segmentation']


def test_a_run_that_is_not_finished_is_not_shipped(tmp_path, networks):
    shutil.rmtree(write_run(tmp_path / 'run') / 'final_model')
    with pytest.raises(InputError, match='give the folder of a finished run'):
        ship(str(tmp_path / 'run'), networks)
