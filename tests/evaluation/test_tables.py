"""Tables and JSON of an evaluation."""

import json

import numpy as np
import pytest
from helpers import read_rows

from bodycomp_jax.data.table import Column
from bodycomp_jax.evaluation import tables
from bodycomp_jax.evaluation.study import Examples, Metric, Pair
from bodycomp_jax.evaluation.summary import agreement, summarize

DICE = Metric('dice', 'muscle', 'Dice', '', True, 3)


def examples():
    numbers = np.array([[[0.1], [np.nan]], [[1 / 3], [0.25]]])
    about = [{'row': '0', 'z': '5'}, {'row': '1'}]
    return Examples(about, ['a', 'b'], 'patient', {'dice': Column('', '')}, numbers)


def test_a_row_for_each_example_and_candidate(tmp_path):
    tables.write_examples(str(tmp_path / 'examples.csv'), examples(), ['A', 'B'])
    rows = read_rows(tmp_path / 'examples.csv')
    assert [(row['row'], row['z'], row['candidate'], row['dice']) for row in rows] == [
        ('0', '5', 'A', '0.1'),
        ('0', '5', 'B', ''),
        ('1', '', 'A', '0.3333333333'),
        ('1', '', 'B', '0.25'),
    ]


def test_json_has_no_nan():
    units = examples()
    found = tables.summary_json(summarize(units, [DICE], 0), [DICE], ['A', 'B'])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found['dice']['means']['B'] == {'mean': 0.25, 'interval': [None, None], 'n': 1}
    (difference,) = found['dice']['differences']
    assert (difference['first'], difference['second'], difference['n']) == ('A', 'B', 1)
    assert difference['mean'] == pytest.approx(1 / 3 - 0.25)
    assert tables.without_nan({'a': np.nan, 'b': 1.5}) == {'a': None, 'b': 1.5}


def test_agreement_as_json():
    pair = Pair('dice', 'dice', 'muscle', 'area', 'cm2', True)
    of_pair = [agreement(examples(), pair, m, 0) for m in (0, 1)]
    found = tables.agreement_json([pair], [of_pair], ['A', 'B'])['dice']
    assert json.dumps(found, allow_nan=False)
    assert found['B'] is None
    assert (found['A']['n'], found['A']['bias'], found['A']['icc_2_1']) == (2, 0, None)
