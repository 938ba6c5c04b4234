"""From a folder of scans to tables of results."""

import collections
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bodycomp_jax.data.batches import ReadAhead
from bodycomp_jax.data.masks.labels import UNSEEN
from bodycomp_jax.data.scans import Series, SeriesSequence, Skipped, find_series
from bodycomp_jax.data.scans.metadata import COLUMNS as METADATA
from bodycomp_jax.data.table import write_table
from bodycomp_jax.errors import InputError, RunError, listed
from bodycomp_jax.estimation import choose
from bodycomp_jax.estimation.method import fingerprints, method_of
from bodycomp_jax.estimation.options import EstimationConfig
from bodycomp_jax.estimation.ratings import EXCLUDED, excluded, identity, read_bad
from bodycomp_jax.estimation.report import write_report
from bodycomp_jax.estimation.result import MEASURED
from bodycomp_jax.estimation.rows import (
    FAILED,
    WRITTEN,
    Row,
    about,
    as_text,
    columns,
    columns_of_page,
    on_page,
)
from bodycomp_jax.runtime import journal
from bodycomp_jax.runtime.files import refuse_unwritable
from bodycomp_jax.runtime.json_files import write_json
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.runtime.versions import PACKAGES, SCAN_PACKAGES, versions

SHOWN = (  # in the table on the page
    'status', 'series', 'level', 'slice', 'flags', 'muscle_area_cm2', 'subcutaneous_fat_area_cm2',
    'visceral_fat_area_cm2', 'muscle_mean_hu', 'smi_cm2_m2',
)  # fmt: skip


def estimate_cohort(config: EstimationConfig) -> None:
    """Measures the series in a folder and writes the results.

    What is done is kept: a run that was killed continues where it was.

    Raises InputError if there is no series, or for files and networks that cannot be used;
    RunError, after the tables are written, for series that failed, or if none could be measured.
    """
    terminal = Terminal()
    refuse_unwritable(config.output_dir)
    decisive = config.of_rows | fingerprints(config)
    bad = read_bad(config.exclude) if config.exclude is not None else set()
    found = find_series(config.scans, progress=terminal.track)
    if not found.series:
        reasons = listed(dict.fromkeys(skipped.reason for skipped in found.skipped))
        raise InputError(
            f'{config.scans}: no axial CT series ({reasons or "no files"}); give a folder of scans'
        )
    if config.overwrite:
        journal.forget(config.output_dir)
    rows = _done(config, decisive) | _not_chosen(config, found.series)
    part, parts = config.part
    names = found.series.names
    todo = [i for i in range(part - 1, len(names), parts) if names[i] not in rows]
    if todo:
        rows |= _measure(config, decisive, todo, found.series, terminal)
    if parts > 1:
        terminal.line(
            f'{config.output_dir}: part {config.shard} is done; after all parts, the same command '
            'without --shard writes the tables'
        )
        _refuse_failed(row for i in todo for row in rows[names[i]])
        return
    table = [row for name in names for row in rows[name]] + _left_out(found.skipped)
    if config.exclude is not None:
        if missing := bad - {identity(row) for row in table}:
            unknown = listed(' '.join(each) for each in sorted(missing))
            terminal.warn(f'{config.exclude}: no row of the results is of {unknown}')
        table = excluded(table, bad, config.exclude)
    _warn_of_lost_files(config.output_dir, table, terminal)
    _write_tables(config, decisive, table)
    _write_page(config, table)
    _report(config, table, terminal)


def _done(config: EstimationConfig, decisive: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The rows of the series that were measured before, but for those that failed."""
    done = journal.read_done(config.output_dir, decisive)
    return {
        name: rows for name, rows in done.items() if all(row['status'] != FAILED for row in rows)
    }


def _measure(
    config: EstimationConfig,
    decisive: Mapping[str, Any],
    todo: Sequence[int],
    series: SeriesSequence,
    terminal: Terminal,
) -> dict[str, list[Row]]:
    """The rows of the series with these indices; each is on disk when it is done.

    Threads measure: while the device is busy with a series, others are read.
    """
    method = method_of(config, alone=len(series) == 1)
    if method.table is not None and (names := method.table.names_without(series)):
        terminal.warn(
            f'{method.table.path}: {config.scans} has no series {listed(names)}; name them as in '
            'results.csv'
        )
    if config.patients is not None:
        _warn_of_unknown_patients(config.patients, method.heights, series, terminal)
    part = '{}-of-{}'.format(*config.part)
    rows = {}
    with journal.appending(config.output_dir, part, decisive) as note:
        measured = zip(todo, ReadAhead(lambda i: method.rows(series[i]), todo), strict=True)
        for i, of_series in terminal.track(measured, len(todo), config.scans):
            name = series.names[i]
            note(name, of_series)
            rows[name] = of_series
            for row in of_series:
                if row['status'] == FAILED:
                    terminal.warn(f'series {name}: {row["reason"]}')
    for flag in method.meaning.unseen() if config.masks is not None else ():
        terminal.warn(f'{flag}: {UNSEEN}')
    return rows


def _warn_of_unknown_patients(
    path: str, heights: Mapping[str, float], series: Iterable[Series], terminal: Terminal
) -> None:
    known = {_metadata(each)['patient_id'] for each in series}
    if unknown := [patient for patient in heights if patient not in known]:
        terminal.warn(
            f'{path}: no scan has the PatientID {listed(map(repr, unknown))}; write it as in '
            'results.csv, with all zeros (NIfTI files have none)'
        )


def _warn_of_lost_files(output_dir: str, table: Iterable[Row], terminal: Terminal) -> None:
    """They are not written again: others of the series may have been corrected since."""
    files = [str(row[column]) for row in table for column in WRITTEN if row.get(column)]
    if lost := [name for name in files if not os.path.isfile(os.path.join(output_dir, name))]:
        terminal.warn(
            f'{output_dir}: {len(lost)} files of the results are gone ({listed(lost)}); '
            '--overwrite writes all of them again'
        )


def _not_chosen(config: EstimationConfig, series: Sequence[Series]) -> dict[str, list[Row]]:
    """The rows of the series whose study has a better one, by the name of the series."""
    if config.all_series or config.masks is not None or config.slice_selection is None:
        return {}
    metadata = [_metadata(each) for each in series]
    return {
        series[i].name: [
            {
                **about(series[i]),
                **metadata[i],
                'status': 'not_chosen',
                'reason': f'{choose.described(series[best], metadata[best])} of the same study is '
                f'measured rather than {choose.described(series[i], metadata[i])}; --all_series '
                'measures both',
            }
        ]
        for i, best in choose.chosen(series, metadata).items()
        if best != i
    }


def _metadata(series: Series) -> Mapping[str, str]:
    """Without any if the file cannot be read: measuring the series will say so."""
    try:
        return series.metadata
    except InputError:
        return dict.fromkeys(METADATA, '')


def _left_out(skipped: Iterable[Skipped]) -> list[Row]:
    """A row for the files of a folder that are not taken for the same reason."""
    paths: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for each in skipped:
        paths[os.path.dirname(each.path), each.reason].append(each.path)
    return [
        {'status': 'not_taken', 'reason': reason, 'slices': len(of_reason), 'file': of_reason[0]}
        for (_, reason), of_reason in paths.items()
    ]


def _write_tables(
    config: EstimationConfig, decisive: Mapping[str, Any], table: Sequence[Row]
) -> None:
    """Writes results.csv, results.json and columns.json."""
    levels = list(dict.fromkeys(str(row['level']) for row in table if 'level' in row))
    header = columns(levels)
    os.makedirs(config.output_dir, exist_ok=True)
    texts = [{name: as_text(value) for name, value in row.items()} for row in table]
    write_table(os.path.join(config.output_dir, 'results.csv'), texts, list(header))
    about_columns = {name: column._asdict() for name, column in header.items()}
    about_run = {
        'flags': decisive,
        'versions': versions((*PACKAGES, *SCAN_PACKAGES)),
        'rows': [{name: row[name] for name in header if name in row} for row in table],
    }
    for name, content in (('columns.json', about_columns), ('results.json', about_run)):
        write_json(os.path.join(config.output_dir, name), content)


def _write_page(config: EstimationConfig, table: Sequence[Row]) -> None:
    """Writes report.html."""
    paths = [os.path.join(config.output_dir, str(row.get('preview') or '')) for row in table]
    write_report(
        os.path.join(config.output_dir, 'report.html'),
        [on_page(row) for row in table],
        {name: column.unit for name, column in columns_of_page().items()},
        shown=SHOWN,
        pictures=[path if os.path.isfile(path) else None for path in paths],
    )


def _report(config: EstimationConfig, table: Sequence[Row], terminal: Terminal) -> None:
    counts = collections.Counter(str(row['status']) for row in table)
    terminal.table(('status', 'rows'), [(status, str(n)) for status, n in counts.most_common()])
    results, page = (
        os.path.join(config.output_dir, name) for name in ('results.csv', 'report.html')
    )
    if not (counts[MEASURED] or counts[EXCLUDED]):
        raise RunError(f'nothing could be measured; {results} says why')
    terminal.line(f'written: {results}, {page}')
    _refuse_failed(table)


def _refuse_failed(rows: Iterable[Row]) -> None:
    """Raises RunError for series that could not be measured."""
    if failed := sum(row['status'] == FAILED for row in rows):
        raise RunError(
            f'{failed} series could not be measured, as the warnings above say; the same command '
            'tries them again'
        )
