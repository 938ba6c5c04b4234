"""From networks or readers, and data, to tables and a page."""

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from bodycomp_jax.config import UNetConfig, to_values
from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation import markup, tables
from bodycomp_jax.evaluation.bootstrap import RESAMPLES
from bodycomp_jax.evaluation.candidates import (
    Candidate,
    alike_but_for_the_seed,
    open_networks,
    open_readers,
)
from bodycomp_jax.evaluation.figures import bland_altman
from bodycomp_jax.evaluation.groups import Groups, read_groups
from bodycomp_jax.evaluation.levels import LevelStudy
from bodycomp_jax.evaluation.measure import measure
from bodycomp_jax.evaluation.options import EvaluationConfig
from bodycomp_jax.evaluation.report import Report, elements
from bodycomp_jax.evaluation.study import Examples, Study
from bodycomp_jax.evaluation.summary import agreement, by_unit, summarize
from bodycomp_jax.evaluation.tissues import TissueStudy
from bodycomp_jax.evaluation.verdict import counted, verdict
from bodycomp_jax.evaluation.worst import Case, worst_cases
from bodycomp_jax.runtime import journal
from bodycomp_jax.runtime.devices import cache_compiled_programs, choose_devices
from bodycomp_jax.runtime.files import refuse_unwritable, replacing
from bodycomp_jax.runtime.json_files import write_json
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.runtime.versions import PACKAGES, versions

NOT_OF_NUMBERS = (  # of the slices
    'output_dir', 'overwrite', 'seed', 'groups', 'labelled_slices', 'num_gpus', 'check_values',
)  # fmt: skip


def evaluate_candidates(config: EvaluationConfig) -> None:
    """Compares what the flags name and writes the results.

    What is measured is kept: a run that was killed continues where it was.

    Raises InputError for networks, data and flags that do not fit each other; RunError if the data
    change meanwhile.
    """
    terminal = Terminal()
    refuse_unwritable(config.output_dir)
    networks = open_networks(config)
    candidates = [*networks.candidates, *open_readers(config)]
    study = _study(config, networks.config)
    devices = choose_devices(config.num_gpus, 0)
    cache_compiled_programs(devices)
    doubts = []
    for part in study.parts:
        for dataset in (part.dataset, *part.readers):
            dataset.validate()
        terminal.line(part.dataset.describe())
        doubts += part.dataset.warnings()
    groups = _groups(config, study)
    provenance = _provenance(config, study, candidates)
    warnings = [*networks.warnings, *doubts, *groups.left_out]
    for warning in warnings:
        terminal.warn(warning)
    if config.overwrite:
        journal.forget(config.output_dir)
    os.makedirs(config.output_dir, exist_ok=True)
    numbers = measure(
        study,
        candidates,
        devices,
        output_dir=config.output_dir,
        options={**provenance['flags'], **{n: provenance[n] for n in ('candidates', 'data')}},
        terminal=terminal,
    )
    examples = study.examples(numbers)
    cases = worst_cases(study, examples, numbers, candidates, devices)
    report = _report(config, study, candidates, examples, groups, warnings, cases, provenance)
    _write(config, report, study.as_in_training(numbers))
    for sentence in report.verdict:
        terminal.line(sentence)
    terminal.line(f'written: {os.path.join(config.output_dir, "report.html")}')


def _study(config: EvaluationConfig, network: Any) -> Study:
    if network.kind == UNetConfig.kind:
        if config.labelled_slices is not None:
            raise InputError(
                '--labelled_slices has no effect on segmentation networks; leave it out'
            )
        return TissueStudy(config, network)
    for name in ('masks', 'pixel_mm'):
        if getattr(config, name):
            raise InputError(f'--{name} has no effect on slice-selection networks; leave it out')
    return LevelStudy(config, network)


def _groups(config: EvaluationConfig, study: Study) -> Groups:
    """The subgroups of the units, which are known before anything is measured."""
    if config.groups is None:
        return Groups({}, [])
    count = sum(len(part.dataset) for part in study.parts)
    units = by_unit(study.examples(np.full((count, 1, study.num_numbers), np.nan)))
    return read_groups(config.groups, units.units, units.unit)


def _report(
    config: EvaluationConfig,
    study: Study,
    candidates: Sequence[Candidate],
    examples: Examples,
    groups: Groups,
    warnings: Sequence[str],
    cases: Sequence[Case],
    provenance: dict[str, Any],
) -> Report:
    names = [candidate.name for candidate in candidates]
    alike = alike_but_for_the_seed(candidates)
    units = by_unit(examples)
    summary = summarize(examples, study.metrics, config.seed, alike)
    agreements = [
        [agreement(units, pair, m, config.seed) for m in range(len(names))] for pair in study.pairs
    ]
    return Report(
        title=_title(config, study, units, len(examples.about)),
        example=study.example,
        names=names,
        examples=examples,
        units=units,
        metrics=study.metrics,
        pairs=study.pairs,
        verdict=verdict(summary, study.metrics, names, units.unit),
        warnings=warnings,
        summary=summary,
        groups={
            column: {
                value: summarize(
                    _of_units(examples, units, rows), study.metrics, config.seed, alike
                )
                for value, rows in of_column.items()
            }
            for column, of_column in groups.of.items()
        },
        agreements=agreements,
        agreement_figures=[
            figure
            for pair, of_pair in zip(study.pairs, agreements, strict=True)
            for figure in bland_altman(units, pair, of_pair, names)
        ],
        error_figures=[figure for figure in study.figures(examples, names) if figure is not None],
        cases=cases,
        definitions=study.definitions,
        provenance=provenance,
    )


def _title(config: EvaluationConfig, study: Study, units: Examples, count: int) -> str:
    reference = f'; reference standard: {config.masks[0]}' if config.masks else ''
    of_units = '' if units.unit == study.example else f' of {counted(len(units.units), units.unit)}'
    return (
        f'{config.data_dir}, {config.where}: {counted(count, study.example)}{of_units}{reference}'
    )


def _of_units(examples: Examples, units: Examples, rows: np.ndarray) -> Examples:
    """The examples of those units."""
    names = {units.units[row] for row in rows}
    chosen = [i for i, name in enumerate(examples.units) if name in names]
    return examples._replace(
        about=[examples.about[i] for i in chosen],
        units=[examples.units[i] for i in chosen],
        numbers=examples.numbers[chosen],
    )


def _provenance(
    config: EvaluationConfig, study: Study, candidates: Sequence[Candidate]
) -> dict[str, Any]:
    """What decides the numbers: flags, networks, data, versions."""
    values = to_values(config)
    return {
        'flags': {name: value for name, value in values.items() if name not in NOT_OF_NUMBERS},
        'candidates': {each.name: each.provenance for each in candidates},
        'data': [
            dataset.fingerprint()
            for part in study.parts
            for dataset in (part.dataset, *part.readers)
        ],
        'intervals': f'{RESAMPLES} resamples, seed {config.seed}',
        'versions': versions((*PACKAGES, 'scipy')),
    }


def _write(
    config: EvaluationConfig, report: Report, as_in_training: Sequence[dict[str, float]]
) -> None:
    """Writes tables, figures, pictures and the page."""

    def path(*names: str) -> str:
        return os.path.join(config.output_dir, *names)

    names = report.names
    tables.write_examples(path('examples.csv'), report.examples, names)
    tables.write_examples(path('patients.csv'), report.units, names)
    for folder in ('figures', 'pictures'):
        os.makedirs(path(folder), exist_ok=True)
    for i, figure in enumerate((*report.agreement_figures, *report.error_figures)):
        name = re.sub(r'[^A-Za-z0-9]+', '_', figure.name)
        with replacing(path('figures', f'{i:02d}_{name}.svg')) as file:
            file.write(figure.svg)
    for case in report.cases:
        name = f'{case.candidate}_{report.example}_{case.example:06d}.jpg'
        with replacing(path('pictures', name), binary=True) as file:
            file.write(case.picture)
    content = {
        'verdict': report.verdict,
        'warnings': report.warnings,
        'unit': report.units.unit,
        'units': len(report.units.units),
        'examples': len(report.examples.units),
        'metrics': tables.summary_json(report.summary, report.metrics, names),
        'agreement': tables.agreement_json(report.pairs, report.agreements, names),
        'groups': {
            column: {
                value: tables.summary_json(summary, report.metrics, names)
                for value, summary in of_column.items()
            }
            for column, of_column in report.groups.items()
        },
        'as_in_training': {
            name: tables.without_nan(values)
            for name, values in zip(names, as_in_training, strict=True)
        },
        'columns': {name: column._asdict() for name, column in report.examples.columns.items()},
        'definitions': report.definitions,
        'provenance': report.provenance,
    }
    write_json(path('summary.json'), content)
    with replacing(path('report.html'), binary=True) as file:
        file.write(markup.page(elements(report)).encode())
