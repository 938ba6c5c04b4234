"""What a prepared set says of itself."""

import json

import pytest

from bodycomp_jax.config import DenseNetConfig
from bodycomp_jax.data.prepared import determined_options, refuse_other_reference
from bodycomp_jax.errors import InputError


def write(folder, about):
    (folder / 'dataset.json').write_text(about if isinstance(about, str) else json.dumps(about))


def test_a_network_of_another_point_of_the_vertebra_is_refused(tmp_path):
    write(tmp_path, {'flags': {'reference': 'inferior'}})
    refuse_other_reference(tmp_path, DenseNetConfig(reference='inferior').reference)
    message = (
        r'prepared with --reference=inferior, but .*=middle; train one with --reference=inferior'
    )
    with pytest.raises(InputError, match=message):
        refuse_other_reference(tmp_path, DenseNetConfig().reference)


@pytest.mark.parametrize('about', [{}, {'flags': 3}, {'flags': {'reference': 'x'}}, {'labels': {}}])
def test_the_accounts_of_others_are_not_its_concern(tmp_path, about):
    refuse_other_reference(tmp_path, 'middle')
    write(tmp_path, about)
    refuse_other_reference(tmp_path, 'middle')


@pytest.mark.parametrize(
    ('flags', 'levels'),
    [
        ({'slices': 'level', 'levels': ['L3', 'T12']}, ['L3', 'T12']),
        ({'slices': 'labelled', 'levels': ['L3']}, []),
        ({'slices': 'level', 'levels': 3}, []),
        ({}, []),
    ],
)
def test_a_set_of_slices_at_levels_says_so(tmp_path, flags, levels):
    assert determined_options(tmp_path) == {'levels': []}
    write(tmp_path, {'flags': flags})
    assert determined_options(tmp_path) == {'levels': levels}


def test_an_account_that_cannot_be_read_is_named(tmp_path):
    write(tmp_path, '{')
    with pytest.raises(InputError, match=r'dataset.json: not readable as JSON'):
        refuse_other_reference(tmp_path, 'middle')
