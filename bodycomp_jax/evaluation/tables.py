"""The tables of an evaluation: CSV files and a summary as JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bodycomp_jax.data.table import write_table
from bodycomp_jax.evaluation.bootstrap import Interval
from bodycomp_jax.evaluation.study import Examples, Metric, Pair
from bodycomp_jax.evaluation.summary import Agreement, Summary


def write_examples(path: str, examples: Examples, names: Sequence[str]) -> None:
    """Writes a row for each example and candidate.

    Args:
      path: of the CSV file.
      examples: what is written.
      names: of the candidates.
    """
    header = list(dict.fromkeys(name for row in examples.about for name in row))
    rows = (
        {
            **about,
            'candidate': name,
            **dict(zip(examples.columns, map(_text, numbers), strict=True)),
        }
        for about, of_example in zip(examples.about, examples.numbers, strict=True)
        for name, numbers in zip(names, of_example, strict=True)
    )
    write_table(path, rows, [*header, 'candidate', *examples.columns])


def summary_json(
    summary: Summary, metrics: Sequence[Metric], names: Sequence[str]
) -> dict[str, Any]:
    """Means and paired differences as JSON values."""
    return {
        metric.column: {
            'title': metric.title,
            'of': metric.of,
            'unit': metric.unit,
            'higher_is_better': metric.higher_is_better,
            'means': {
                name: _interval(summary.values[metric.column, m]) for m, name in enumerate(names)
            },
            'differences': [
                {
                    'first': names[a],
                    'second': names[b],
                    **_interval(difference),
                    'excludes_zero': difference.excludes_zero,
                }
                for (column, a, b), difference in summary.differences.items()
                if column == metric.column
            ],
        }
        for metric in metrics
    }


def agreement_json(
    pairs: Sequence[Pair], agreements: Sequence[Sequence[Agreement | None]], names: Sequence[str]
) -> dict[str, Any]:
    """Agreements as JSON values."""
    return {
        pair.measured: {
            name: None
            if each is None
            else {
                'known': pair.known,
                'unit': pair.unit,
                'n': each.n,
                **each.limits._asdict(),
                'percent': None if each.percent is None else each.percent._asdict(),
                'icc_2_1': _number(each.icc),
                'icc_2_1_interval': [_number(end) for end in each.interval],
            }
            for name, each in zip(names, of_pair, strict=True)
        }
        for pair, of_pair in zip(pairs, agreements, strict=True)
    }


def without_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    """The values, None where there is no number."""
    return {name: _number(value) for name, value in values.items()}


def _interval(value: Interval) -> dict[str, Any]:
    mean, lower, upper, n = value
    return {'mean': _number(mean), 'interval': [_number(lower), _number(upper)], 'n': n}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(value: float) -> str:
    """Ten digits; '' where there is no number."""
    return f'{value:.10g}' if math.isfinite(value) else ''
