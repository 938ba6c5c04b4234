"""The page: the verdict first, then what it rests on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.evaluation.bootstrap import MIN_UNITS, RESAMPLES
from bodycomp_jax.evaluation.figures import Figure
from bodycomp_jax.evaluation.markup import Bold, bullets, element, figures, picture, table
from bodycomp_jax.evaluation.study import Examples, Metric, Pair
from bodycomp_jax.evaluation.summary import Agreement, Summary
from bodycomp_jax.evaluation.units import SPACING
from bodycomp_jax.evaluation.verdict import PLURAL, counted, with_interval
from bodycomp_jax.evaluation.worst import WORST, Case
from bodycomp_jax.metrics.agreement import Limits

UNKNOWN = 'unknown'


class Report(NamedTuple):
    """What the page says.

    Attributes:
      title: what was evaluated on what.
      example: what an example is.
      names: of the candidates.
      examples, units: numbers of each, and by patient.
      metrics, pairs: what is shown of them.
      verdict, warnings: sentences.
      summary: of all units.
      groups: {column: {value: summary of its units}}.
      agreements: of each pair, of each candidate.
      agreement_figures, error_figures: of both.
      cases: the worst examples.
      definitions: {number: how it is defined}.
      provenance: {what: value}, of everything that decides the numbers.
    """

    title: str
    example: str
    names: Sequence[str]
    examples: Examples
    units: Examples
    metrics: Sequence[Metric]
    pairs: Sequence[Pair]
    verdict: Sequence[str]
    warnings: Sequence[str]
    summary: Summary
    groups: Mapping[str, Mapping[str, Summary]]
    agreements: Sequence[Sequence[Agreement | None]]
    agreement_figures: Sequence[Figure]
    error_figures: Sequence[Figure]
    cases: Sequence[Case]
    definitions: Mapping[str, str]
    provenance: Mapping[str, Any]


def elements(report: Report) -> Iterator[str]:
    """The elements of the page."""
    yield element('h1', 'Evaluation')
    yield element('p', report.title, 'quiet')
    yield bullets(report.verdict, 'verdict')
    for warning in report.warnings:
        yield element('p', warning, 'warning')
    yield from _means(report)
    if report.pairs:
        yield from _agreement(report)
    if report.error_figures:
        yield element('h2', 'Where the errors are')
        yield figures(figure.svg for figure in report.error_figures)
    for column, groups in report.groups.items():
        yield element('h2', f'By {ct.spaced(column)}')
        yield _groups(report, groups)
    if report.cases:
        yield from _worst(report)
    yield element('h2', 'Definitions')
    yield table(('number', 'definition'), report.definitions.items())
    yield element('h2', 'Provenance')
    yield table(
        ('what', 'value'), [(name, _text(value)) for name, value in report.provenance.items()]
    )


def _means(report: Report) -> Iterator[str]:
    """A row for each metric and candidate, a column for each tissue or level."""
    of = list(dict.fromkeys(metric.of for metric in report.metrics))
    rows = []
    for title in dict.fromkeys(metric.title for metric in report.metrics):
        metrics = [metric for metric in report.metrics if metric.title == title]
        for m, name in enumerate(report.names):
            rows.append(
                (title if m == 0 else '', name, *_values(report, report.summary, metrics, m))
            )
    yield element('h2', f'Means over {counted(len(report.units.units), report.units.unit)}')
    yield table(('', 'candidate', *map(ct.spaced, of)), rows)
    units = PLURAL[report.units.unit]
    text = (
        f'In brackets 95 % intervals from {RESAMPLES:,} resamples of the {units}. Bold: better '
        f'than each other one, that is, the interval of the paired difference excludes 0, with at '
        f'least {MIN_UNITS} {units}. The intervals are not corrected for the number of comparisons.'
    )
    if report.units.unit == report.example:
        text += (
            f' The data do not name patients: each {report.example} is a unit of its own. '
            'If several are of one patient, the intervals are too narrow.'
        )
    else:
        text += f' A {report.units.unit} counts by the mean of its examples.'
    if report.summary.alike:
        text += (
            ' Some candidates differ in the seed of their training alone: differences that are not '
            'larger than theirs do not count.'
        )
    else:
        text += (
            f' The intervals are about other {units}, not about another training: to see what the '
            'seed alone changes, also give a network that was trained with another --seed.'
        )
    yield element('p', text, 'quiet')


def _values(
    report: Report, summary: Summary, metrics: Sequence[Metric], candidate: int
) -> list[str | Bold]:
    """The means of a candidate, in bold where it is the best."""
    cells: list[str | Bold] = []
    for metric in metrics:
        value = summary.values[metric.column, candidate]
        text = with_interval(value, metric)
        if value.n < len(report.units.units) and summary is report.summary:
            text += f', n = {value.n}'
        best = summary.best(metric, len(report.names)) == candidate
        cells.append(Bold(text) if best else text)
    return cells


def _groups(report: Report, groups: Mapping[str, Summary]) -> str:
    """A row for each value and candidate; the first metric of each tissue or level."""
    leading = list({metric.of: metric for metric in reversed(report.metrics)}.values())[::-1]
    rows = [
        (
            value if m == 0 else '',
            str(max(value.n for value in summary.values.values())),
            name,
            *_values(report, summary, leading, m),
        )
        for value, summary in groups.items()
        for m, name in enumerate(report.names)
    ]
    titles = [f'{ct.spaced(metric.of)}, {metric.title}' for metric in leading]
    return table(('', PLURAL[report.units.unit], 'candidate', *titles), rows)


def _agreement(report: Report) -> Iterator[str]:
    yield element('h2', 'Agreement')
    rows = []
    for pair, agreements in zip(report.pairs, report.agreements, strict=True):
        for name, each in zip(report.names, agreements, strict=True):
            what = f'{ct.spaced(pair.of)}, {pair.title}'
            if each is not None:
                percent = UNKNOWN if each.percent is None else _limits(each.percent, '%')
                rating = UNKNOWN
                if np.isfinite(each.icc):
                    rating = f'{each.icc:.3f} ({each.interval[0]:.3f} to {each.interval[1]:.3f})'
                in_percent = percent if pair.in_percent else ''
                rows.append(
                    (what, name, str(each.n), _limits(each.limits, pair.unit), in_percent, rating)
                )
    units = PLURAL[report.units.unit]
    yield table(
        ('', 'candidate', units, 'bias (limits of agreement)', 'in percent', 'ICC(2,1)'), rows
    )
    yield element(
        'p',
        f'Measured minus known, of the means of the {units}. Between the limits of agreement, bias '
        '± 1.96 standard deviations, 95 % of the differences lie (Bland and Altman); in percent of '
        'the mean of both. ICC(2,1): absolute agreement of a single rater (Shrout and Fleiss).',
        'quiet',
    )
    yield figures(figure.svg for figure in report.agreement_figures)


def _limits(limits: Limits, unit: str) -> str:
    return f'{limits.bias:+.2f} ({limits.lower:+.2f} to {limits.upper:+.2f}) {unit}'


def _worst(report: Report) -> Iterator[str]:
    yield element('h2', f'The worst {WORST}')
    for m, name in enumerate(report.names):
        yield element('h3', name)
        for case in report.cases:
            if case.candidate == m:
                about = report.examples.about[case.example]
                place = ', '.join(
                    f'{key} {value}' for key, value in about.items() if value and key not in SPACING
                )
                yield picture(f'{"; ".join(case.reasons)} — {place}', case.picture)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
