"""What each case gives to a set, in files of its own until it is known in which split it is."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bodycomp_jax.data.masks.labels import UnexplainedLabelError
from bodycomp_jax.data.scans import Series, find_series
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.preparation.cases import Case
from bodycomp_jax.preparation.options import PreparationConfig
from bodycomp_jax.runtime.terminal import Terminal

HASH_LETTERS = 16  # of the name of a patient


class Slices(NamedTuple):
    """The slices of a case.

    Attributes:
      rows: {column: value} of each slice.
      counts: {what: number} for the account of the split.
    """

    rows: list[dict[str, str]]
    counts: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Part:
    """What a case gives to the set.

    Attributes:
      path: what the names of its files begin with.
      case: the case.
      patient, series: as the set names them.
      slices: whose rows name patient and series too.
    """

    path: str
    case: Case
    patient: str
    series: str
    slices: Slices


# (case, its series, path of the part): writes the files of the part; raises InputError
MakeSlices = Callable[[Case, Series, str], Slices]


def make_parts(
    config: PreparationConfig,
    cases: Sequence[Case],
    make_slices: MakeSlices,
    folder: str,
    terminal: Terminal,
) -> tuple[list[Part], list[tuple[Case, str]]]:
    """The parts of the cases that can be used, and the reason of each other case.

    Raises UnexplainedLabelError: then more cases have labels that no flag explains.
    """
    parts: list[Part] = []
    rejected: list[tuple[Case, str]] = []
    of_series: dict[tuple[str, str], Case] = {}
    unnamed = 0
    for case in terminal.track(cases, len(cases), config.cases):
        path = os.path.join(folder, f'{case.number:06d}')
        try:
            series = _series_of(case)
            key = series.uid or os.path.realpath(series.slices[0].path), series.name
            if key in of_series:
                raise InputError(
                    f'{case.image}: the same series as that of case {of_series[key].number}; '
                    'remove one'
                )
            slices = make_slices(case, series, path)
        except UnexplainedLabelError:
            raise
        except InputError as error:
            rejected.append((case, str(error)))
            terminal.warn(f'case {case.number} is left out: {error}')
            continue
        of_series[key] = case
        unnamed += not (case.patient or series.patient_id)
        parts.append(_part(config, case, series, path, slices))
    if unnamed > 1:
        terminal.warn(
            f'{unnamed} of {len(parts)} scans name no patient, and each counts as one; if several '
            'are of one patient, name the patients in a column patient'
        )
    return parts, rejected


def _part(config: PreparationConfig, case: Case, series: Series, path: str, slices: Slices) -> Part:
    patient = case.patient or series.patient_id
    if not patient:
        patient = os.path.relpath(case.image, os.path.dirname(config.cases))
    if config.patient_ids == 'hash':
        patient = hashlib.sha256(patient.encode()).hexdigest()[:HASH_LETTERS]
    name = series.uid or f'case_{case.number:06d}'
    of_case = {'series': name, 'patient': patient, **({'fold': case.fold} if case.fold else {})}
    rows = [of_case | row for row in slices.rows]
    return Part(path, case, patient, name, slices._replace(rows=rows))


def _series_of(case: Case) -> Series:
    """The series of a case. Raises InputError unless there is one."""
    found = find_series(case.image)
    series = [each for each in found.series if case.series in ('', each.uid)]
    if not series:
        reasons = listed(dict.fromkeys(skipped.reason for skipped in found.skipped))
        raise InputError(
            f'{case.image}: no axial CT series'
            f'{f" {case.series}" if case.series else ""} ({reasons or "no such file"}); give the '
            'file or the folder of one'
        )
    if len(series) > 1:
        raise InputError(
            f'{case.image}: {len(series)} series ({listed(each.name for each in series)}); give '
            'the folder of one, or its SeriesInstanceUID in a column series'
        )
    return series[0]
