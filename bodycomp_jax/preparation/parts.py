"""What each case gives to a set, in files of its own until it is known in which split it is."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bodycomp_jax.data.masks.labels import UnexplainedLabelError
from bodycomp_jax.data.npy import NpyRows
from bodycomp_jax.data.scans import Found, Series, Skipped, find_series
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.preparation.cases import Case
from bodycomp_jax.preparation.options import PreparationConfig
from bodycomp_jax.runtime.files import HASH_DIGITS
from bodycomp_jax.runtime.terminal import Terminal


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
      identity: of the patient, which no file may name.
      patient, series: as the set names them.
      slices: whose rows name patient and series too.
      kept: whether its files remain when the set is written.
    """

    path: str
    case: Case
    identity: str
    patient: str
    series: str
    slices: Slices
    kept: bool = False

    def rows(self, ending: str) -> NpyRows:
        """The rows of one of its files, which is removed unless it is kept."""
        path = self.path + ending
        rows = NpyRows(path)
        if not self.kept:
            os.remove(path)  # it stays readable while it is open
        return rows


# (case, its series, path of the part): writes the files of the part; raises InputError
MakeSlices = Callable[[Case, Series, str], Slices]


class Account(NamedTuple):
    """What became of the cases.

    Attributes:
      parts: of the cases that can be used.
      rejected: the other cases, each with the reason.
      skipped: files that are no part of a series, with the first case that has them.
    """

    parts: list[Part]
    rejected: list[tuple[Case, str]]
    skipped: dict[Skipped, Case]


def make_parts(
    config: PreparationConfig,
    cases: Sequence[Case],
    make_slices: MakeSlices,
    folder: str,
    terminal: Terminal,
) -> Account:
    """Makes the parts in a folder; a case for which InputError is raised is rejected.

    Raises UnexplainedLabelError: other cases have labels that no flag explains, too.
    """
    account = Account([], [], {})

    @functools.lru_cache(maxsize=1)  # a folder may be that of many cases
    def find(path: str) -> Found:
        return find_series(path, progress=terminal.track)

    has_folds = any(case.fold for case in cases)
    of_series: dict[tuple[str, float], Case] = {}
    unnamed = 0
    for case in terminal.track(cases, len(cases), config.cases):
        path = os.path.join(folder, f'{case.number:06d}')
        try:
            found = find(case.image)
            for skipped in found.skipped:
                account.skipped.setdefault(skipped, case)
            series = _series_of(case, found)
            key = series.name, series.z[0]
            if key in of_series:
                raise InputError(
                    f'{case.image}: the same series as that of case {of_series[key].number}; '
                    'remove one'
                )
            slices = make_slices(case, series, path)
            of_series[key] = case
            unnamed += not (case.patient or series.patient_id)
            part = _part(config, case, series, path, slices, has_folds)
            account.parts.append(part)
        except UnexplainedLabelError:
            raise
        except InputError as error:
            account.rejected.append((case, str(error)))
            terminal.warn(f'case {case.number} is left out: {error}')
    if unnamed > 1:
        terminal.warn(
            f'{unnamed} of {len(cases)} scans name no patient, and each counts as one; if several '
            'are of one patient, name the patients in a column patient'
        )
    return account


def _part(
    config: PreparationConfig,
    case: Case,
    series: Series,
    path: str,
    slices: Slices,
    has_folds: bool,
) -> Part:
    identity = case.patient or series.patient_id
    if not identity:
        identity = os.path.relpath(case.image, os.path.dirname(config.cases))
    patient = identity
    if config.patient_ids == 'hash':
        patient = hashlib.sha256(identity.encode()).hexdigest()[:HASH_DIGITS]
    fold = {'fold': case.fold} if has_folds else {}
    of_case = {'series': series.name, 'patient': patient, **fold}
    rows = [of_case | row for row in slices.rows]
    return Part(path, case, identity, patient, series.name, slices._replace(rows=rows))


def _series_of(case: Case, found: Found) -> Series:
    """The series of a case. Raises InputError unless there is one."""
    series = [each for each in found.series if case.series in ('', each.uid, each.name)]
    if not found.series:
        reasons = listed(dict.fromkeys(skipped.reason for skipped in found.skipped))
        raise InputError(
            f'{case.image}: no axial CT series ({reasons or "no files"}); give the file or the '
            'folder of one'
        )
    if not series:
        raise InputError(
            f'{case.image}: no series {case.series}, but '
            f'{listed(each.name for each in found.series)}; name one of these'
        )
    if len(series) > 1:
        raise InputError(
            f'{case.image}: {len(series)} series ({listed(each.name for each in series)}); give '
            'the folder of one, or its name in a column series'
        )
    return series[0]
