"""The page: what it says, and in which order."""

import re

import numpy as np

from bodycomp_jax.data.table import Column
from bodycomp_jax.evaluation import markup
from bodycomp_jax.evaluation.figures import Figure
from bodycomp_jax.evaluation.report import Report, elements
from bodycomp_jax.evaluation.study import Examples, Metric, Pair
from bodycomp_jax.evaluation.summary import agreement, by_unit, summarize
from bodycomp_jax.evaluation.worst import Case

DICE = Metric('dice', 'visceral_fat', 'Dice', '', True, 3)
HD95 = Metric('hd95', 'visceral_fat', 'HD95', 'mm', False, 2)
PAIR = Pair('area', 'known', 'visceral_fat', 'area', 'cm2', True)
COLUMNS = ('dice', 'hd95', 'area', 'known')


def report(*, unit='patient', alike=(), names=('A', 'B'), pairs=(PAIR,), **changes):
    """Of eight patients with two slices each; A has the larger Dice, and HD95 is unknown in one."""
    random = np.random.default_rng(0)
    numbers = random.uniform(1, 2, (16, 2, 4))
    numbers[:, :, 0] = [0.95, 0.9]
    numbers[0, :, 1] = numbers[1, :, 1] = np.nan
    about = [{'row': str(i), 'patient': f'P{i // 2}', 'row_spacing': '0.7'} for i in range(16)]
    names_of_units = [f'P{i // 2}' if unit == 'patient' else str(i) for i in range(16)]
    columns = {name: Column('', '') for name in COLUMNS}
    examples = Examples(about, names_of_units, unit, columns, numbers[:, : len(names)])
    units = by_unit(examples)
    values = {
        'title': 'DATA, the split val',
        'example': 'slice',
        'names': names,
        'examples': examples,
        'units': units,
        'metrics': [DICE, HD95],
        'pairs': pairs,
        'verdict': ['A is better.'],
        'warnings': ['It may have seen them.'],
        'summary': summarize(examples, [DICE, HD95], 0, alike),
        'groups': {'sex': {'F': summarize(examples, [DICE, HD95], 0, alike)}},
        'agreements': [[agreement(units, p, m, 0) for m in range(len(names))] for p in pairs],
        'agreement_figures': [Figure('agreement', '<svg></svg>')],
        'error_figures': [Figure('error', '<svg></svg>')],
        'cases': [Case(3, 1, ['1. by Dice: visceral fat 0.900'], b'picture')],
        'definitions': {'Dice': 'an overlap'},
        'provenance': {'versions': {'jax': '1'}},
    }
    return Report(**{**values, **changes})


def text_of(found):
    """The text of the page, an element a line."""
    page = markup.page(elements(found))
    return re.sub(r'\n+', '\n', re.sub(r'<[^>]*>', '\n', page[page.index('<body>') :]))


def test_the_order_of_the_page():
    text = text_of(report())
    places = [
        text.index(part)
        for part in (
            'A is better.', 'It may have seen them.', 'Means over 8 patients', 'Agreement',
            'Where the errors are', 'By sex', 'The worst 12', 'Definitions', 'Provenance',
        )
    ]  # fmt: skip
    assert places == sorted(places)


def test_the_best_is_bold_and_unknown_units_are_counted():
    page = markup.page(elements(report()))
    bold = re.findall(r'<b>(.*?)</b>', page)
    assert bold == ['0.950 (0.950 to 0.950)'] * 2  # of all, and of the group
    assert page.count(', n = 7</td>') == 2


def test_the_captions_of_the_worst():
    text = text_of(report())
    assert '1. by Dice: visceral fat 0.900 — row 3, patient P1\n' in text


def test_the_units_are_said():
    assert 'A patient counts by the mean of its examples.' in text_of(report())
    text = text_of(report(unit='slice'))
    assert 'Means over 16 slices' in text
    assert 'each slice is a unit of its own' in text


def test_what_the_intervals_are_about():
    assert 'not about another training' in text_of(report())
    assert 'differ in the seed of their training alone' in text_of(report(alike={(0, 1)}))


def test_without_pairs_and_cases_nothing_is_said_of_them():
    text = text_of(report(pairs=(), cases=(), error_figures=(), groups={}, warnings=()))
    for part in ('Agreement', 'The worst', 'Where the errors', 'By sex', 'may have seen'):
        assert part not in text
