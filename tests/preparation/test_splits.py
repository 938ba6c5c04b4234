"""Splits by patient."""

import collections
import re

import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.preparation.splits import refuse_unknown_splits, split_of_patients

SHARES = {'val_share': 0.2, 'test_share': 0.1, 'seed': 0}


def drawn(names, **changes):
    given = [(i, name, '', '') for i, name in enumerate(names)]
    return split_of_patients(given, **SHARES | changes)


NAMES = [f'patient {i}' for i in range(40)]


def test_patients_are_drawn_by_their_shares():
    assert collections.Counter(drawn(NAMES).values()) == {'train': 28, 'val': 8, 'test': 4}


def test_the_order_of_the_cases_does_not_matter_and_the_seed_does():
    assert drawn(NAMES) == drawn(NAMES[::-1]) == drawn(NAMES + NAMES)
    assert drawn(NAMES) != drawn(NAMES, seed=1)


@pytest.mark.parametrize(
    ('patients', 'shares', 'counts'),
    [
        (1, (0.2, 0.0), {'train': 1}),
        (2, (0.2, 0.0), {'train': 1, 'val': 1}),
        (3, (0.2, 0.1), {'train': 1, 'val': 1, 'test': 1}),
        (3, (0.0, 0.0), {'train': 3}),
        (3, (0.0, 1.0), {'test': 3}),
        (3, (0.5, 0.5), {'val': 2, 'test': 1}),
        (2, (0.2, 0.1), {'train': 1, 'val': 1}),
        (1, (0.2, 0.8), {'test': 1}),
    ],
)
def test_a_share_is_at_least_a_patient(patients, shares, counts):
    splits = drawn(NAMES[:patients], val_share=shares[0], test_share=shares[1])
    assert collections.Counter(splits.values()) == counts


def test_the_table_goes_first_and_the_rest_is_drawn():
    given = [(0, 'a', 'test', ''), (1, 'b', 'val', '')]
    splits = split_of_patients([*given, *((2, name, '', '') for name in NAMES)], **SHARES)
    assert {name: splits[name] for name in 'ab'} == {'a': 'test', 'b': 'val'}
    assert {name: splits[name] for name in NAMES} == drawn(NAMES)


def test_the_first_fold_validates():
    folds = {'a': ('', '10'), 'b': ('', '2'), 'c': ('test', ''), 'd': ('', '2')}
    splits = split_of_patients([(0, name, *of) for name, of in folds.items()], **SHARES)
    assert splits == {'a': 'train', 'b': 'val', 'c': 'test', 'd': 'val'}


def test_the_first_fold_is_one_of_those_that_are_not_decided():
    given = [(0, 'a', 'test', '0'), (1, 'b', '', '1'), (2, 'c', '', '2'), (3, 'd', 'train', '0')]
    splits = split_of_patients(given, **SHARES)
    assert splits == {'a': 'test', 'b': 'val', 'c': 'train', 'd': 'train'}


def test_folds_are_given_to_all_or_to_none():
    with pytest.raises(InputError, match='case 1 has no fold, but others have one'):
        split_of_patients([(0, 'a', '', '1'), (1, 'b', 'train', '')], **SHARES)


@pytest.mark.parametrize(
    ('second', 'message'),
    [
        (('val', '1'), "cases 3 and 5 are of one patient, but their split is 'train' and 'val'"),
        (('', '1'), "their split is 'train' and ''; give all scans of a patient the same"),
        (('train', '2'), "their fold is '1' and '2'"),
    ],
)
def test_a_patient_is_never_parted(second, message):
    with pytest.raises(InputError, match=message):
        split_of_patients([(3, 'a', 'train', '1'), (5, 'a', *second)], **SHARES)


def test_other_names_of_splits_are_refused():
    refuse_unknown_splits('cases.csv', ['train', '', 'test', 'val'])
    message = re.escape("cases.csv: the column split holds 'Train', 'validation'; use train, val")
    with pytest.raises(InputError, match=message):
        refuse_unknown_splits('cases.csv', ['validation', 'train', 'Train'])
