"""The verdict in sentences."""

from collections.abc import Sequence

from bodycomp_jax import ct
from bodycomp_jax.evaluation.bootstrap import MIN_UNITS, Interval
from bodycomp_jax.evaluation.study import Metric
from bodycomp_jax.evaluation.summary import Summary

PLURAL = {'patient': 'patients', 'series': 'series', 'slice': 'slices'}


def verdict(
    summary: Summary, metrics: Sequence[Metric], names: Sequence[str], unit: str
) -> list[str]:
    """A sentence for each tissue or level, by the first of its metrics; with more candidates more.

    Args:
      summary: of the metrics.
      metrics: those of all tissues or levels.
      names: of the candidates.
      unit: what is resampled.
    """
    leading = {metric.of: metric for metric in reversed(metrics)}
    found = []
    for of in dict.fromkeys(metric.of for metric in metrics):
        metric = leading[of]
        first = summary.leader(metric, len(names))
        if summary.values[metric.column, first].n == 0:
            found.append(f'{_capital(ct.spaced(of))}: nothing to measure in these slices.')
        elif len(names) == 1:
            value = summary.values[metric.column, 0]
            of_value = f'{metric.title} {with_interval(value, metric)}'
            found.append(f'{_capital(ct.spaced(of))}: {of_value}, {counted(value.n, unit)}.')
        else:
            found += [
                _compared(summary, metric, names, first, other, unit)
                for other in range(len(names))
                if other != first
            ]
    return found


def counted(n: int, unit: str) -> str:
    """A number of units."""
    return f'{n} {unit if n == 1 else PLURAL[unit]}'


def number(value: float, metric: Metric) -> str:
    """With the digits and the unit of a metric."""
    return f'{value:.{metric.digits}f}{f" {metric.unit}" if metric.unit else ""}'


def with_interval(value: Interval, metric: Metric) -> str:
    """A mean and its interval; what is not known is left out."""
    if value.n == 0:
        return 'unknown'
    if value.n == 1:
        return number(value.mean, metric)
    ends = f'{value.lower:.{metric.digits}f} to {value.upper:.{metric.digits}f}'
    return f'{number(value.mean, metric)} ({ends})'


def _compared(
    summary: Summary, metric: Metric, names: Sequence[str], first: int, other: int, unit: str
) -> str:
    """Whether the candidate with the best mean is better than another one."""
    better_by = summary.difference(metric, first, other)
    if not metric.higher_is_better:
        mean, lower, upper, n = better_by
        better_by = Interval(-mean, -upper, -lower, n)
    a, b, of = names[first], names[other], ct.spaced(metric.of)
    digits = metric.digits if metric.unit else metric.digits + 1
    if better_by.n == 0:
        return f'{_capital(of)}: {a} and {b} have no {unit} in common.'
    amount = (
        f'{better_by.mean:.{digits}f} {f"{metric.unit} of " if metric.unit else ""}{metric.title}'
    )
    evidence = counted(better_by.n, unit)
    if better_by.n > 1:
        ends = f'{better_by.lower:.{digits}f} to {better_by.upper:.{digits}f}'
        evidence = f'95 % interval {ends}, {evidence}'
    if summary.is_better(metric, first, other):
        return f'{a} is better than {b} for {of} by {amount} ({evidence}).'
    why = ''
    if better_by.n < MIN_UNITS:
        why = f'; fewer than {MIN_UNITS} show nothing'
    elif better_by.excludes_zero:
        by_seed = f'{summary.by_seed(metric):.{digits}f}'
        alone = tuple(sorted((first, other))) in summary.alike
        why = (
            '; only the seed of their training differs' if alone else f'; the seed makes {by_seed}'
        )
    return f'For {of}, {a} and {b} cannot be told apart: they differ by {amount} ({evidence}{why}).'


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
