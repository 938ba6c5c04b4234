"""The verdict in sentences."""

import numpy as np

from bodycomp_jax.evaluation.bootstrap import Interval
from bodycomp_jax.evaluation.study import Metric
from bodycomp_jax.evaluation.summary import Summary
from bodycomp_jax.evaluation.verdict import counted, verdict, with_interval

DICE = Metric('fat_dice', 'visceral_fat', 'Dice', '', True, 3)
SURFACE = Metric('fat_surface', 'visceral_fat', 'surface Dice', '', True, 3)
POSITION = Metric('L3_error', 'L3', 'position error', 'mm', False, 2)
NOTHING = Interval(np.nan, np.nan, np.nan, 0)


def summary(difference, metric=DICE, means=(0.9, 0.88), alike=()):
    values = {(metric.column, m): Interval(mean, 0, 1, 31) for m, mean in enumerate(means)}
    return Summary(values, {(metric.column, 0, 1): difference}, alike)


def said(difference, metric=DICE, **options):
    (sentence,) = verdict(summary(difference, metric, **options), [metric], 'AB', 'patient')
    return sentence


def test_better():
    assert said(Interval(0.012, 0.004, 0.0204, 31)) == (
        'A is better than B for visceral fat by 0.0120 Dice (95 % interval 0.0040 to 0.0204, '
        '31 patients).'
    )


def test_better_where_lower_is():
    assert said(Interval(4, 3, 5, 31), POSITION, means=(6, 2)) == (
        'B is better than A for L3 by 4.00 mm of position error (95 % interval 3.00 to 5.00, '
        '31 patients).'
    )


def test_not_told_apart():
    assert said(Interval(0.001, -0.004, 0.006, 31)) == (
        'For visceral fat, A and B cannot be told apart: they differ by 0.0010 Dice (95 % interval '
        '-0.0040 to 0.0060, 31 patients).'
    )


def test_reasons_not_to_tell_apart():
    clear = Interval(0.012, 0.004, 0.020, 31)
    few = said(clear._replace(n=5))
    assert few.endswith('5 patients; fewer than 6 show nothing).')
    one = said(Interval(0.012, np.nan, np.nan, 1))
    assert one.endswith('differ by 0.0120 Dice (1 patient; fewer than 6 show nothing).')
    alike = said(clear, alike={(0, 1)})
    assert alike.endswith('31 patients; only the seed of their training differs).')
    assert said(NOTHING) == 'Visceral fat: A and B have no patient in common.'


def test_the_first_metric_of_a_tissue_decides():
    both = summary(Interval(0.012, 0.004, 0.020, 31))
    assert len(verdict(both, [DICE, SURFACE], 'AB', 'patient')) == 1


def test_one_candidate():
    alone = Summary({('fat_dice', 0): Interval(0.9, 0.85, 0.95, 31)}, {}, ())
    (sentence,) = verdict(alone, [DICE], 'A', 'series')
    assert sentence == 'Visceral fat: Dice 0.900 (0.850 to 0.950), 31 series.'
    (sentence,) = verdict(Summary({('fat_dice', 0): NOTHING}, {}, ()), [DICE], 'A', 'slice')
    assert sentence == 'Visceral fat: nothing to measure in these slices.'


def test_numbers_with_intervals():
    assert with_interval(Interval(1.234, 1, 2, 3), POSITION) == '1.23 mm (1.00 to 2.00)'
    assert with_interval(Interval(0.5, np.nan, np.nan, 1), DICE) == '0.500'
    assert with_interval(NOTHING, DICE) == 'unknown'
    assert [counted(n, 'patient') for n in (1, 2)] == ['1 patient', '2 patients']
