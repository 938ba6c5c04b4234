import dataclasses
import json

import pytest

from bodycomp_jax.config import (
    LIGHT,
    STRONG,
    AugmentationConfig,
    DenseNetConfig,
    RunConfig,
    SegmentationConfig,
    SliceSelectionConfig,
    Strengths,
    UNetConfig,
    contradiction,
    from_json,
    from_values,
    options,
    to_json,
    to_values,
    with_preset,
)
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.flags import GROUPS


@pytest.mark.parametrize(
    'config',
    [
        SegmentationConfig(
            network=UNetConfig(compression_channels=(2, 4), decompression_channels=(2,)), epochs=7
        ),
        SliceSelectionConfig(network=DenseNetConfig(levels=('L3', 'T5')), initializer='he_normal'),
    ],
)
def test_json_and_back_gives_the_same_config(config):
    fields = json.loads(json.dumps(to_json(config)))
    assert fields['network'] == config.network.kind
    assert from_json({**fields, 'versions': {}}) == config


def test_a_config_of_an_older_version_has_defaults_for_new_options():
    for fields, config_class in (
        ({'network': 'slice_selection', 'levels': ['L1']}, SliceSelectionConfig),
        ({'epochs': 3}, SegmentationConfig),
    ):
        as_then = {**config_class.presets['reference'], 'preset': 'reference'}
        assert from_json(fields) == from_values(config_class, as_then | fields)


def test_a_slice_selection_of_an_older_version_has_the_loss_that_it_knew():
    fields = to_json(SliceSelectionConfig())
    assert fields.pop('loss') == 'cross_entropy'
    assert from_json(fields).loss == 'mae'


def test_a_preset_leaves_what_the_user_gives():
    config = from_values(SegmentationConfig, {'preset': 'reference', 'schedule': 'cosine'})
    of_reference = with_preset(config, {'preset', 'schedule'})
    assert of_reference.schedule == 'cosine'
    assert of_reference.loss == 'dice'
    assert of_reference.augmentation.strengths == LIGHT
    without = from_values(SegmentationConfig, {'preset': 'reference', 'augment': False})
    assert with_preset(without, {'preset', 'augment'}).augmentation.strengths == Strengths()


def test_pretrained_weights_are_trained_on_with_the_reference_preset():
    config = SliceSelectionConfig(load_weights='old.hdf5')
    assert with_preset(config, {'load_weights'}).learning_rate == 0.0001
    assert with_preset(config, {'load_weights'}).preset == 'reference'
    assert with_preset(config, {'load_weights', 'preset'}) == config
    new = SliceSelectionConfig()
    assert with_preset(new, set()) == new


def test_fine_tuning_on_synthetic_slices_alone_mixes_nothing():
    config = SegmentationConfig(load_weights='synthetic', synthetic=True)
    tuned = with_preset(config, {'load_weights', 'synthetic'})
    assert (tuned.preset, tuned.num_synthetic) == ('fine_tuning', tuned.batch_size)


@pytest.mark.parametrize('path', ['synthetic', 'synthetic/segmentation'])
def test_networks_that_come_with_the_package_are_fine_tuned(path):
    config = with_preset(SegmentationConfig(load_weights=path), {'load_weights'})
    assert config.preset == 'fine_tuning'
    assert config.mix_synthetic == 0.5
    assert config.learning_rate < SegmentationConfig().learning_rate
    assert config.augmentation == SegmentationConfig().augmentation
    given = with_preset(config, {'load_weights', 'mix_synthetic', 'learning_rate'})
    assert given == config


def test_a_folder_of_the_user_is_no_network_of_the_package(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'synthetic/segmentation').mkdir(parents=True)
    for path in ('synthetic', 'synthetic/segmentation', 'synthetic/tissues'):
        config = with_preset(SegmentationConfig(load_weights=path), {'load_weights'})
        assert config.preset == 'reference'


@pytest.mark.parametrize(('augment', 'level'), [(True, 'light'), (False, 'none')])
def test_an_older_config_has_the_level_of_augmentation_that_it_meant(augment, level):
    config = from_json({'augment': augment})
    assert config.augmentation == AugmentationConfig(augmentation=level)
    assert config.augmentation.strengths == (LIGHT if augment else Strengths())
    assert from_json(to_json(config)) == config


def test_the_flag_of_older_versions_and_the_level_agree():
    assert AugmentationConfig(augment=True) == AugmentationConfig(augmentation='light')
    message = 'invalid --augmentation=strong: --noaugment means --augmentation=none; leave one out'
    with pytest.raises(InputError, match=message):
        AugmentationConfig(augment=False, augmentation='strong')


def test_a_strength_that_is_given_replaces_that_of_the_level():
    strong = AugmentationConfig(augmentation='strong', noise=3.0, flip=0.5)
    assert strong.strengths == STRONG._replace(noise=3.0, flip=0.5)
    light = AugmentationConfig(augmentation='light', blur=0.01)
    assert light.strengths == LIGHT._replace(blur=0.01)


@pytest.mark.parametrize('fields', [{'network': 'transformer'}, {'network': ['x']}, [1], None])
def test_what_is_not_a_config_is_refused(fields):
    with pytest.raises(InputError, match='expected segmentation or slice_selection'):
        from_json(fields)


def test_options_are_those_of_the_network_and_of_the_training():
    names = [field.name for field in options(SegmentationConfig)]
    assert names[: len(dataclasses.fields(UNetConfig))] == [
        field.name for field in dataclasses.fields(UNetConfig)
    ]
    assert {'learning_rate', 'loss', 'epochs'} < set(names)
    assert 'network' not in names
    values = to_values(SegmentationConfig())
    assert list(values) == names
    values |= {'epochs': 5, 'num_convs': 2}
    assert from_values(SegmentationConfig, values) == SegmentationConfig(
        network=UNetConfig(num_convs=2), epochs=5
    )


@pytest.mark.parametrize('config_class', [RunConfig, SegmentationConfig, SliceSelectionConfig])
def test_every_option_has_a_help_text_and_a_known_group(config_class):
    for field in options(config_class):
        assert field.metadata['help']
        assert field.metadata['group'] in GROUPS


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'epochs': 0}, 'invalid --epochs=0: '),
        ({'batch_size': -1}, 'invalid --batch_size=-1: '),
        ({'learning_rate': float('nan')}, 'invalid --learning_rate=nan: '),
        ({'learning_rate': float('inf')}, 'invalid --learning_rate=inf: '),
        ({'seed': -1}, 'invalid --seed=-1: '),
        ({'folds': 1, 'fold': 0}, 'invalid --folds=1: use 2 or more'),
        ({'folds': 5}, r'invalid no --fold: give both --folds and --fold \(--folds=5\)'),
        ({'fold': 0}, r'invalid --fold=0: give both --folds and --fold \(no --folds\)'),
        ({'folds': 5, 'fold': 5}, 'invalid --fold=5: use 0 to --folds minus 1'),
        ({'folds': 5, 'fold': -1}, 'invalid --fold=-1: use 0 to'),
        ({'augmentation': 'heavy'}, 'invalid --augmentation=heavy: choose from none, light, '),
        ({'rotation': -5.0}, r'invalid --rotation=-5.0: use a number in 0..180'),
        ({'flip': 1.5}, r'invalid --flip=1.5: use a number in 0..1'),
        ({'noise': float('nan')}, 'invalid --noise=nan: '),
        ({'loss': 'focal'}, 'invalid --loss=focal: choose from dice, dice_ce'),
        (
            {'compression_channels': (8, 0), 'decompression_channels': (8,)},
            'invalid --compression_channels=8,0: ',
        ),
        ({'compression_channels': (8, 16)}, 'exactly one level fewer'),
        ({'compression_channels': [4] * 10**6}, r'4,4,4,4\.\.\.: use at most 12 levels'),
        ({'compression_channels': (100000,)}, r'=100000: use numbers in 1\.\.16384'),
        ({'num_convs': 3000}, r'invalid --num_convs=3000: use a number in 1\.\.64'),
        ({'epochs': 1.5}, r'invalid --epochs=1\.5: use a whole number'),
        ({'epochs': True}, 'invalid --epochs: use a whole number'),
        ({'augment': 1}, 'invalid --augment=1: use true or false'),
        ({'compression_channels': '4,8'}, 'use a list of whole numbers'),
        ({'learning_rate': '0.1'}, 'use a number'),
        ({'activation': None}, 'use text'),
    ],
)
def test_invalid_values_are_refused_by_name(changes, message):
    with pytest.raises(InputError, match=message):
        from_values(SegmentationConfig, changes)


def test_contradictions_name_the_first_option_that_differs():
    values = to_values(UNetConfig(num_convs=2))
    assert contradiction(values, {'num_convs': 2, 'threshold': 10.0}) is None
    assert contradiction(values, {'compression_channels': (16, 32, 64, 128, 256, 512)}) is None
    message = 'this network has --num_convs=2, not --num_convs=1'
    assert contradiction(values, {'num_convs': 1}) == message


def test_steps_and_synthetic_slices_of_a_batch():
    for changes, synthetic, steps in (
        ({}, 0, 10),
        ({'mix_synthetic': 0.5}, 8, 20),
        ({'mix_synthetic': 0.25}, 4, 13),
        ({'synthetic': True}, 16, 100),
        ({'synthetic': True, 'batches_per_epoch': 7}, 16, 7),
    ):
        config = SegmentationConfig(**changes)
        stored = 0 if config.synthetic else 160
        assert (config.num_synthetic, config.steps_per_epoch(stored)) == (synthetic, steps)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'mix_synthetic': 1.0}, '--mix_synthetic=1.0: use a share of 0 to less than 1, or --synt'),
        ({'mix_synthetic': -0.5}, 'use a share of 0'),
        ({'mix_synthetic': float('nan')}, 'use a share of 0'),
        ({'mix_synthetic': 0.5, 'synthetic': True}, 'or --synthetic alone'),
        ({'mix_synthetic': 0.01}, 'that is 0 of --batch_size=16; use a share that leaves'),
        ({'mix_synthetic': 0.99}, 'that is 16 of --batch_size=16'),
    ],
)
def test_shares_of_synthetic_slices_that_no_batch_has_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        SegmentationConfig(**changes)
