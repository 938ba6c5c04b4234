import dataclasses
import json

import pytest

from bodycomp_jax import config as configs
from bodycomp_jax.config import RunConfig, SegmentationConfig
from bodycomp_jax.errors import InputError


def test_json_and_back_gives_the_same_config():
    config = SegmentationConfig(compression_channels=(2, 4), decompression_channels=(2,), epochs=7)
    fields = json.loads(json.dumps(configs.to_json(config)))
    assert configs.from_json({**fields, 'versions': {}}) == config


def test_every_field_has_a_help_text_and_a_known_group():
    for config_class in (RunConfig, SegmentationConfig):
        for field in dataclasses.fields(config_class):
            assert field.metadata['help']
            assert field.metadata['group'] in configs.GROUPS


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'epochs': 0}, '--epochs: 0'),
        ({'batch_size': -1}, '--batch_size: -1'),
        ({'learning_rate': float('nan')}, '--learning_rate: nan'),
        ({'learning_rate': float('inf')}, '--learning_rate: inf'),
        ({'seed': -1}, '--seed: -1'),
        ({'loss': 'focal'}, '--loss'),
        ({'compression_channels': (8, 0), 'decompression_channels': (8,)}, '--compression'),
        ({'compression_channels': (8, 16)}, 'exactly one level fewer'),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(changes, message):
    with pytest.raises(InputError, match=message):
        SegmentationConfig(**changes)


def test_differences_name_the_fields():
    one, other = SegmentationConfig(), SegmentationConfig(num_convs=2, seed=1)
    assert configs.differences(one, other) == ['seed', 'num_convs']
    assert configs.differences(one, other, group='Network') == ['num_convs']
