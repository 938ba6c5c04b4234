"""Tables of results: a row for each slice that is measured, and for each that is missing."""

import math
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence

from bodycomp_jax.ct import TISSUES
from bodycomp_jax.data.masks.labels import HULimits
from bodycomp_jax.data.scans import Series
from bodycomp_jax.data.scans.metadata import COLUMNS as METADATA
from bodycomp_jax.data.table import Column
from bodycomp_jax.estimation.level import confidence
from bodycomp_jax.estimation.measuring import OF_SLICE, OF_TISSUES
from bodycomp_jax.estimation.native import AGREEMENT
from bodycomp_jax.estimation.result import MEASURED, Curve, Estimate, Measured, Numbers

Row = dict[str, str | float | None]

FAILED = 'failed'  # a status; such a series is tried again
IN_SLAB, SLAB_MEAN = 'in_slab', 'slab_mean'
MIN_CONFIDENCE = 0.8
MAX_CUT = 5.0  # percent of the outline of the body
MIN_DICE = 0.9  # between the networks of an ensemble
LEADING = {
    'status': Column(
        '',
        f'{MEASURED}; {IN_SLAB}, a slice around the level; {SLAB_MEAN}, the mean of both; else why '
        'nothing is',
    ),
    'reason': Column('', 'of the status, in a sentence'),
    'series': Column('', 'name of the series, without identifiers of the patient'),
    'level': Column('', 'vertebral level; slice: measured as it is'),
    'flags': Column('', 'what may be wrong, separated by semicolons'),
    'slices': Column('1', 'number of slices of the series; of files, where none is taken'),
    'slice': Column('1', 'index of the measured slice, from the feet to the head'),
    'z_mm': Column('mm', 'position of the measured slice, towards the head'),
    'level_z_mm': Column('mm', 'position of the level that the network finds in the scan'),
    'level_confidence': Column('1', 'how well its curve has the form of a level, 0 to 1'),
    'level_reference': Column('', 'point of the vertebra that the network was trained to find'),
    'file': Column('', 'of the measured slice, else of the first slice'),
    'sop_instance_uid': Column('', 'of the measured slice'),
    'height_m': Column('m', 'height of the patient'),
    'segmentation': Column('', 'file with the labels, in the output folder'),
    'not_dicom_reason': Column(
        '', 'why this file is not a DICOM segmentation, or has no structured report'
    ),
    'preview': Column('', 'picture, in the output folder'),
}
WRITTEN = ('segmentation', 'preview')  # columns of files in the output folder
LIMITS = {f'{tissue}_hu_limits': Column('HU', f'of limited_{tissue}') for tissue in TISSUES}


def columns(levels: Sequence[str]) -> dict[str, Column]:
    """{name of each column: its unit and what it is}; numbers of tissues begin with the level."""
    metadata = {name: Column(_unit(name), f'{name}, of the scanner') for name in METADATA}
    of_levels = {
        f'{level}_{name}': Column(unit, f'{meaning}, at {level}')
        for level in levels
        for name, (unit, meaning) in {**OF_TISSUES, **AGREEMENT}.items()
    }
    return {**LEADING, **metadata, **LIMITS, **OF_SLICE, **of_levels}


def columns_of_page() -> dict[str, Column]:
    """{name of each column of the page: its unit and what it is}, the same at each level."""
    return {**columns(()), **OF_TISSUES, **AGREEMENT}


def on_page(row: Row) -> Row:
    """A row with the columns of the page."""
    of_level = {f'{row.get("level")}_{name}': name for name in (*OF_TISSUES, *AGREEMENT)}
    return {of_level.get(name, name): value for name, value in row.items()}


def without_numbers(row: Row) -> Row:
    """What a row says of the series and the level, without what was measured in the slice."""
    return {name: value for name, value in row.items() if name in (*LEADING, *METADATA)}


def rows_of(
    estimate: Estimate,
    limits: HULimits,
    files: Mapping[tuple[str, int | None], Row],
    *,
    reference: str,
    height_m: float | None,
    flag: str,
    other_levels: Collection[str] = (),
) -> list[Row]:
    """The rows of a series, a level after the other.

    Args:
      estimate: of the series.
      limits: within which its tissues were measured.
      files: {(level, index): files of this slice by their columns}; the index is None where the
        level is missing.
      reference: point of the vertebra that the network finds.
      height_m: of the patient.
      flag: what is odd about the height; ''.
      other_levels: on which the network was not trained.
    """
    of_series: Row = {**about(estimate.series), **estimate.metadata, 'height_m': height_m}
    for tissue in TISSUES:
        of_series[f'{tissue}_hu_limits'] = '{}..{}'.format(*getattr(limits, tissue))
    rows = []
    for measured in estimate.measured:
        level, curve = measured.level, estimate.curve.get(measured.level)
        of_level = {**of_series, **_of_curve(curve, reference)}
        slab = [each for each in estimate.slab if each.level == level]
        for each, status in [(measured, MEASURED), *((other, IN_SLAB) for other in slab)]:
            found = [*_flags(each, curve, estimate.series.prone), *([flag] if flag else [])]
            if level in other_levels:
                found.append('level_not_trained')
            of_slice = _of_slice(estimate.series, each)
            of_files = files.get((level, each.index), {})
            rows.append(
                {'status': status, **of_level, **of_slice, 'flags': ';'.join(found), **of_files}
            )
        if slab:
            mean = _named(level, _mean([measured.numbers, *(each.numbers for each in slab)]))
            rows.append({'status': SLAB_MEAN, **of_level, 'level': level, **mean})
    for level, (status, reason) in estimate.missing.items():
        of_curve = _of_curve(estimate.curve.get(level), reference)
        why: Row = {'status': status, 'reason': reason, 'level': level}
        rows.append({**of_series, **of_curve, **why, **files.get((level, None), {})})
    return rows


def about(series: Series) -> Row:
    """What a row says of a series of which nothing else is known."""
    return {
        'series': series.name,
        'slices': len(series),
        'file': series.slices[0].path,
        'series_instance_uid': series.uid,
    }


def _of_curve(curve: Curve | None, reference: str) -> Row:
    if curve is None:
        return {}
    z, outside = curve.position.z, curve.position.outside
    return {
        'level_z_mm': None if outside or not math.isfinite(z) else z,
        'level_confidence': confidence(curve.position),
        'level_reference': reference,
    }


def _of_slice(series: Series, measured: Measured) -> Row:
    of = series.slices[measured.index]
    return {
        'level': measured.level,
        'slice': measured.index,
        'z_mm': of.z,
        'file': of.path,
        'sop_instance_uid': of.sop_instance_uid,
        **_named(measured.level, measured.numbers),
    }


def _named(level: str, numbers: Numbers) -> Row:
    """The numbers by column; all rows share these names in memory."""
    return {
        sys.intern(name if name in OF_SLICE else f'{level}_{name}'): value
        for name, value in numbers.items()
    }


def _mean(slices: Sequence[Numbers]) -> Numbers:
    """The mean of each number over the slices where it is known."""
    known = {name: [each[name] for each in slices] for name in slices[0]}
    means = {name: [x for x in values if x is not None] for name, values in known.items()}
    return {name: sum(xs) / len(xs) if xs else None for name, xs in means.items()}


def _flags(measured: Measured, curve: Curve | None, prone: bool | None) -> Iterator[str]:
    if curve is not None and confidence(curve.position) < MIN_CONFIDENCE:
        yield 'level_uncertain'
    if measured.numbers['muscle_area_cm2'] == 0:
        yield 'no_muscle'
    if (measured.numbers['field_of_view_cut_percent'] or 0) > MAX_CUT:
        yield 'field_of_view_cut'
    dice = [measured.numbers[name] for name in AGREEMENT]
    if any(each is not None and each < MIN_DICE for each in dice):
        yield 'members_disagree'
    if prone:
        yield 'prone'


def as_text(value: str | float | None) -> str:
    """A value for a CSV file: numbers with six digits, '' where unknown."""
    if value is None:
        return ''
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _unit(name: str) -> str:
    """The unit at the end of the name of a column."""
    units: Mapping[str, str] = {
        '_mm': 'mm', '_mA': 'mA', '_mAs': 'mAs', '_ms': 'ms', 'kvp': 'kV', '_kg': 'kg',
        'patient_size': 'm',
    }  # fmt: skip
    return next((unit for end, unit in units.items() if name.endswith(end)), '')
