"""The networks that come with the package, on real CT and as the start of a training."""

import numpy as np
import pydicom
import pytest
from helpers import ROOT, SHARED_DATA, needs_shared_data

from bodycomp_jax import find_series, load_model
from bodycomp_jax.checkpoints import shipped, shipping, store
from bodycomp_jax.checkpoints.continuing import load_pretrained
from bodycomp_jax.checkpoints.network import fingerprint, load_network
from bodycomp_jax.config import TRAINERS, DenseNetConfig, SliceSelectionConfig
from bodycomp_jax.errors import InputError

HU_LIMITS = ((-30, 150), (-190, -30), (-150, -50))  # of the labels of `l3_other_patient`


def accounts(kind):
    """Of a network, of the one that it started from, and so on."""
    account = store.read(str(shipped.NETWORKS / kind), 'account')['account']
    while account is not None:
        yield account
        account = account.get('started_from')


@pytest.mark.parametrize('kind', TRAINERS)
def test_networks_have_seen_synthetic_slices_alone(kind):
    network = load_network(f'synthetic/{kind}')
    assert network.training.synthetic
    *later, first = accounts(kind)
    assert network.training.load_weights == ('synthetic' if later else None)
    assert all(' --load_weights=synthetic --synthetic' in each['command'] for each in later)
    assert ' --synthetic' in first['command']
    assert ' --load_weights' not in first['command']


@pytest.mark.parametrize('kind', TRAINERS)
def test_the_model_card_says_how_they_were_made(kind):
    card = (ROOT / 'docs/networks.md').read_text(encoding='utf-8')
    assert f'`{fingerprint(f"synthetic/{kind}")}`' in card
    for account in accounts(kind):
        assert f'.venv/bin/python {account["command"]}\n' in card


def test_networks_are_small():
    files = [path for path in shipped.NETWORKS.rglob('*') if path.is_file()]
    assert sum(path.stat().st_size for path in files) < shipping.MAX_BYTES


@needs_shared_data
def test_a_slice_of_a_patient_is_segmented():
    slice_ = pydicom.dcmread(SHARED_DATA / 'l3_other_patient/slice.dcm')
    hu = slice_.pixel_array * float(slice_.RescaleSlope) + float(slice_.RescaleIntercept)
    _, (labels,) = load_model('synthetic/segmentation')(hu[None].clip(-1024))
    expected = np.load(SHARED_DATA / 'l3_other_patient/labels.npy')
    for label, (low, high) in enumerate(HU_LIMITS, start=1):
        found, true = (labels == label) & (hu >= low) & (hu <= high), expected == label
        assert 2 * (found & true).sum() > 0.9 * (found.sum() + true.sum())


@needs_shared_data
def test_l3_of_a_patient_is_found():
    series = find_series(str(SHARED_DATA / 'totalsegmentator/ct_spine.nii.gz')).series[0]
    slices = np.stack([series.hu(i) for i in range(len(series))])
    found = load_model('synthetic/slice_selection').find(slices, series.z)
    assert found['L3'].z == pytest.approx(315.7, abs=10)


def test_training_starts_from_some_of_the_levels():
    def start(*levels):
        config = SliceSelectionConfig(
            load_weights='synthetic', network=DenseNetConfig(levels=levels or ('L3',))
        )
        return load_pretrained('none', config, {'load_weights', 'levels'} if levels else set())

    all_levels, full = start()
    for levels in (('L3',), ('L1', 'T12')):
        config, variables = start(*levels)
        assert config.network.levels == levels
        columns = [all_levels.network.levels.index(level) for level in levels]
        for name, array in variables['params']['dense'].items():
            np.testing.assert_array_equal(array, full['params']['dense'][name][..., columns])
    with pytest.raises(InputError, match=r'knows the levels T12, .*L5, not T5; give some of them'):
        start('L3', 'T5')
