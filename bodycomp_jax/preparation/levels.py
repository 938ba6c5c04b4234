"""Where the vertebral levels of a case are."""

import itertools
import os
from collections.abc import Iterable, Sequence

import numpy as np

from bodycomp_jax.data.masks.vertebrae import level_map, read_vertebrae
from bodycomp_jax.data.scans import Series
from bodycomp_jax.data.table import number_in
from bodycomp_jax.errors import InputError
from bodycomp_jax.preparation.cases import Case
from bodycomp_jax.preparation.options import PreparationConfig
from bodycomp_jax.vertebrae import from_head

MAX_DISTANCE = 2000.0  # mm from a scan to a level of the same body
SUFFIXES = {'_file': 'path', '_sop_instance_uid': 'sop_instance_uid'}  # what names a slice


def refuse_missing_levels(path: str, cases: Iterable[Case], levels: Iterable[str]) -> None:
    """Raises InputError if no case says where a level is."""
    for level in levels:
        columns = [level, *(level + suffix for suffix in SUFFIXES)]
        if not any(case.vertebrae or any(map(case.levels.get, columns)) for case in cases):
            raise InputError(f'{path}: {_no_position(level)}')


def level_positions(case: Case, series: Series, config: PreparationConfig) -> dict[str, float]:
    """The z of each level in mm: from the columns of the table, else from the vertebra mask.

    Raises InputError where a level has no position, or a lower level is above a higher one.
    """
    given = {level: _from_table(case, series, level) for level in config.levels}
    missing = [level for level, mm in given.items() if mm is None]
    found = _from_mask(case, series, missing, config) if missing else {}
    positions = {level: found[level] if mm is None else mm for level, mm in given.items()}
    ordered = from_head(positions)
    for upper, lower in itertools.pairwise(ordered):
        if positions[lower] >= positions[upper]:
            raise InputError(
                f'{case.image}: {lower} at {positions[lower]:.1f} mm is not below {upper} at '
                f'{positions[upper]:.1f} mm; z grows towards the head'
            )
    return positions


def _from_table(case: Case, series: Series, level: str) -> float | None:
    """mm; None if the table says nothing of the level."""
    text = case.levels.get(level, '')
    mm = _position(case, level, text, series) if text else None
    for suffix, of_slice in SUFFIXES.items():
        column = level + suffix
        if text := case.levels.get(column, ''):
            wanted = os.path.basename(text)
            named = [s.z for s in series.slices if os.path.basename(getattr(s, of_slice)) == wanted]
            if mm is None and len(named) != 1:
                raise InputError(
                    f'{case.image}: {len(named)} slices have the {column} {text}; give that of one '
                    'slice of this series, or its z in mm'
                )
            mm = named[0] if mm is None else mm
            if len(named) == 1 and not series.is_nearest(named[0], mm):
                raise InputError(
                    f'{case.image}: the {column} {text} is at {named[0]:.1f} mm, but another '
                    f'column says that {level} is at {mm:.1f}; clear the one that is not meant'
                )
    return mm


def _position(case: Case, column: str, text: str, series: Series) -> float:
    value = number_in(text)
    if not np.abs(series.z - value).min() <= MAX_DISTANCE:
        raise InputError(
            f'{case.image}: column {column}: invalid position {text!r}: expected a number of mm '
            f'such as -64.9, at most {MAX_DISTANCE:g} from the slices at {series.z[0]:.1f} to '
            f'{series.z[-1]:.1f}'
        )
    return value


def _from_mask(
    case: Case, series: Series, levels: Sequence[str], config: PreparationConfig
) -> dict[str, float]:
    if not case.vertebrae:
        raise InputError(f'{case.image}: {_no_position(levels[0])}')
    found = read_vertebrae(
        case.vertebrae,
        series,
        levels,
        level_map(config.vertebra_numbers),
        config.reference,
    )
    if found.rejected:
        raise InputError('; '.join(found.rejected.values()))
    return found.z


def _no_position(level: str) -> str:
    return (
        f'no position of {level}: give a column {level} with its z in mm, {level}_file, '
        f'{level}_sop_instance_uid, or vertebrae with a mask'
    )
