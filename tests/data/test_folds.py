import itertools

import numpy as np
import pytest

from bodycomp_jax.data.folds import share_out
from bodycomp_jax.data.table import Table
from bodycomp_jax.errors import InputError


def table(path='train.csv', **columns):
    rows = zip(*columns.values(), strict=True)
    texts = [[str(value) for value in row] for row in rows]
    return Table(path, list(columns), texts, range(len(texts)))


def validating(tables, folds):
    """The rows that validate in each fold; checks that the others train."""
    found = []
    for fold in range(folds):
        training, part = share_out(tables, fold, folds)
        count = sum(len(t.rows) for t in tables)
        assert sorted([*training.rows, *part.rows]) == list(range(count))
        found.append(part.rows.tolist())
    return found


def patients_of(names, folds):
    """The patients that validate in each fold."""
    found = validating([table(patient=names)], folds)
    return [{names[row] for row in rows} for rows in found]


def test_each_slice_validates_once_and_with_its_patient():
    names = [f'p{i % 7}' for i in range(40)]
    parts = patients_of(names, 3)
    for one, other in itertools.combinations(parts, 2):
        assert not one & other
    assert set.union(*parts) == set(names)


def test_folds_have_about_as_many_slices():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 60, 23)
    names = [f'p{i}' for i, size in enumerate(sizes) for _ in range(size)]
    numbers = [len(rows) for rows in validating([table(patient=names)], 5)]
    assert max(numbers) - min(numbers) < 15
    one_large = ['a'] * 90 + [f'p{i}' for i in range(10)]
    assert [len(rows) for rows in validating([table(patient=one_large)], 2)] == [90, 10]


def test_the_order_of_the_rows_and_their_split_do_not_matter():
    names = [f'p{i // 3}' for i in range(30)]
    shuffled = np.random.default_rng(0).permutation(names).tolist()
    assert patients_of(shuffled, 4) == patients_of(names, 4)
    first, second = table(patient=names[:12]), table('val.csv', patient=names[12:])
    assert validating([first, second], 4) == validating([table(patient=names)], 4)


def test_the_folds_stay_what_they_were():
    """A run that continues after an update must find its fold."""
    names = [f'p{i}' for i in range(8)]
    assert patients_of(names, 3) == [{'p3', 'p4', 'p7'}, {'p0', 'p1', 'p5'}, {'p2', 'p6'}]


def test_numbered_patients_are_not_dealt_out_in_turn():
    names = [f'{i:03d}' for i in range(20)]
    assert patients_of(names, 2)[0] not in (set(names[::2]), set(names[1::2]))


def test_the_first_column_that_all_tables_have_names_the_patients():
    one = table(patient='aab', series='xyz')
    assert share_out([one], 0, 2)[1].name == 'fold 0 of 2 by patient'
    other = table('val.csv', series='yz')
    _, part = share_out([one, other], 0, 2)
    assert part.name == 'fold 0 of 2 by series'
    uids = table(SeriesInstanceUID=['1.2', '1.3'])
    assert share_out([uids], 0, 2)[0].name == 'all but fold 0 of 2 by SeriesInstanceUID'


@pytest.mark.parametrize(
    'values',
    [[0, 0, 1, 2], ['1', '1', '2', '10'], ['1.0', '1.0', '2.0', '3.0'], ['a', 'a', 'b', 'c']],
)
def test_a_column_fold_goes_before(values):
    assert validating([table(patient='aabc', fold=values)], 3) == [[0, 1], [2], [3]]


def test_an_empty_column_fold_is_none():
    plain, empty = table(patient='aabc'), table(patient='aabc', fold=['', ' ', 'nan', ''])
    assert validating([empty], 3) == validating([plain], 3)


@pytest.mark.parametrize(
    ('tables', 'message'),
    [
        ([table(patient='aab')], r'train\.csv: 2 patients .*cannot be shared out among --folds=3'),
        (
            [table(patient='ab'), table('val.csv', x='cd')],
            r"val\.csv: no column patient among 'x'; .* add a column patient",
        ),
        (
            [table(patient=['a', '', 'b'])],
            r'train\.csv: row 1 names no patient; fill the column in each row',
        ),
        (
            [table(patient='aabc', fold=[0, 1, 1, 2])],
            r"the slices of patient 'a' have '0' and '1' in the column fold; give each patient one",
        ),
        (
            [table(patient='abc', fold=[0, 1, '']), table('val.csv', patient='d')],
            r"train\.csv and val\.csv: the slices of patient 'c' have '' in the column fold",
        ),
        (
            [table(patient='abcd', fold=[0, 1, 1, 0])],
            r'the column fold has 2 different values \(0, 1\), not --folds=3',
        ),
    ],
)
def test_what_cannot_be_shared_out_is_refused(tables, message):
    with pytest.raises(InputError, match=message):
        share_out(tables, 0, 3)
