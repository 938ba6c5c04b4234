"""The networks that come with the package, on real CT and as the start of a training."""

import re

import numpy as np
import pydicom
import pytest
from helpers import ROOT, SHARED_DATA, needs_shared_data

from bodycomp_jax import find_series, load_model
from bodycomp_jax.checkpoints import shipped, shipping, store
from bodycomp_jax.checkpoints.continuing import load_pretrained
from bodycomp_jax.checkpoints.network import fingerprint, load_network
from bodycomp_jax.config import TRAINERS, SliceSelectionConfig
from bodycomp_jax.errors import InputError
from bodycomp_jax.metrics.overlap import dice

HU_LIMITS = ((-29, 150), (-190, -30), (-150, -50))  # of the labels of `l3_other_patient`


@pytest.mark.parametrize('kind', TRAINERS)
def test_networks_have_seen_synthetic_slices_alone(kind):
    network = load_network(f'synthetic/{kind}')
    assert network.training.synthetic
    assert network.training.load_weights is None
    account = store.read(str(shipped.NETWORKS / kind), 'account')['account']
    assert account['command'].startswith(f'bin/train_{kind}.py MODEL_OUTPUT_DIR --synthetic')
    assert account['versions']['jax']


def test_networks_are_small():
    files = [path for path in shipped.NETWORKS.rglob('*') if path.is_file()]
    assert sum(path.stat().st_size for path in files) < shipping.MAX_BYTES


@pytest.mark.parametrize('kind', TRAINERS)
def test_the_model_card_is_of_these_networks(kind):
    card = (ROOT / 'docs/networks.md').read_text(encoding='utf-8')
    account = store.read(str(shipped.NETWORKS / kind), 'account')['account']
    assert f'`{fingerprint(f"synthetic/{kind}")}`' in card
    assert account['command'].replace('MODEL_OUTPUT_DIR', 'MODEL_OUTPUT_DIR ', 1).split() == next(
        line.removeprefix('.venv/bin/python ').split()
        for line in re.findall('^.*bin/train_.*--synthetic.*$', card, re.MULTILINE)
        if kind in line
    )


@needs_shared_data
def test_a_slice_of_a_patient_is_segmented():
    slice_ = pydicom.dcmread(SHARED_DATA / 'l3_other_patient/slice.dcm')
    hu = slice_.pixel_array * float(slice_.RescaleSlope) + float(slice_.RescaleIntercept)
    _, (labels,) = load_model('synthetic/segmentation')(hu[None].clip(-1024))
    expected = np.load(SHARED_DATA / 'l3_other_patient/labels.npy')
    for label, (low, high) in enumerate(HU_LIMITS, start=1):
        found = (labels == label) & (hu >= low) & (hu <= high)
        assert dice(found, expected == label) > 0.9


@needs_shared_data
def test_l3_of_a_patient_is_found():
    series = find_series(str(SHARED_DATA / 'totalsegmentator/ct_spine.nii.gz')).series[0]
    every = range(0, len(series), 4)
    slices = np.stack([series.hu(i) for i in every])
    found = load_model('synthetic/slice_selection').find(
        slices, series.z[every.start :: every.step]
    )
    assert found['L3'].z == pytest.approx(315.7, abs=10)


def test_training_starts_from_some_of_the_levels():
    given = {'load_weights', 'levels'}
    config = SliceSelectionConfig(load_weights='synthetic')
    full, all_levels = load_pretrained('none', config, {'load_weights'})
    for levels in (('L3',), ('L1', 'T12')):
        wanted = SliceSelectionConfig(
            load_weights='synthetic', network=type(config.network)(levels=levels)
        )
        of_some, variables = load_pretrained('none', wanted, given)
        assert of_some.network.levels == levels
        columns = [full.network.levels.index(level) for level in levels]
        for name, array in variables['params']['dense'].items():
            np.testing.assert_array_equal(array, all_levels['params']['dense'][name][..., columns])
    wanted = SliceSelectionConfig(
        load_weights='synthetic', network=type(config.network)(levels=('L3', 'T5'))
    )
    with pytest.raises(InputError, match='knows the levels T12.*L5, not T5; give some'):
        load_pretrained('none', wanted, given)
