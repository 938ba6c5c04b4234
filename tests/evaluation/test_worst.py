"""The worst examples, in their order."""

import io

import numpy as np
from PIL import Image

from bodycomp_jax.data.table import Column
from bodycomp_jax.evaluation import worst
from bodycomp_jax.evaluation.study import Examples, Metric, Ranking
from bodycomp_jax.evaluation.worst import worst_cases

DICE = [Metric(f'{tissue}_dice', tissue, 'Dice', '', True, 3) for tissue in ('muscle', 'fat')]
ERROR = [Metric('muscle_error', 'muscle', 'area error', 'cm2', False, 1)]


class Study:
    """Draws a picture of the width 10 * example + candidate."""

    rankings = (Ranking('area error', ERROR), Ranking('Dice', DICE))

    def slices_of(self, example):
        return None

    def draw(self, example, candidate, batch, answer, numbers):
        return np.zeros((4, 10 * example + candidate + 1, 3), np.uint8)


def examples(muscle, fat, error):
    numbers = np.array([muscle, fat, error], float).T[:, None].repeat(2, 1)
    names = ('muscle_dice', 'fat_dice', 'muscle_error')
    columns = {name: Column('', '') for name in names}
    rows = range(len(numbers))
    return Examples([{} for _ in rows], list(map(str, rows)), 'slice', columns, numbers)


def test_the_worst_come_first_with_their_reasons(monkeypatch):
    monkeypatch.setattr(worst, 'WORST', 2)
    found = examples([0.9, 0.5, 0.7, 0.99], [0.95, 0.9, 0.1, np.nan], [1, 9, 2, 7])
    candidates = ['A', 'B']
    cases = worst_cases(Study(), found, np.zeros(0), candidates, [])
    assert [(case.candidate, case.example) for case in cases] == [
        (0, 1), (0, 3), (0, 2), (1, 1), (1, 3), (1, 2),
    ]  # fmt: skip
    assert cases[0].reasons == ['1. by area error: muscle 9.0 cm2', '2. by Dice: muscle 0.500']
    assert cases[2].reasons == ['1. by Dice: fat 0.100']
    widths = [Image.open(io.BytesIO(case.picture)).width for case in cases]
    assert widths == [11, 31, 21, 12, 32, 22]


def test_what_is_not_known_is_not_among_the_worst():
    found = examples([np.nan, 0.5], [np.nan, np.nan], [np.nan, np.nan])
    cases = worst_cases(Study(), found, np.zeros(0), ['A'], [])
    assert [(case.example, case.reasons) for case in cases] == [(1, ['1. by Dice: muscle 0.500'])]
