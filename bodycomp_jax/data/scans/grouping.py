"""Slices of DICOM files put together to series."""

import collections
import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterable

from bodycomp_jax.data.scans.grid import Vector, dot, to_patient_orientation
from bodycomp_jax.data.scans.headers import Header
from bodycomp_jax.data.scans.hu import looks_like_hu
from bodycomp_jax.data.scans.metadata import read_metadata
from bodycomp_jax.data.scans.pixels import DicomPixels
from bodycomp_jax.data.scans.reasons import Skipped, skipped
from bodycomp_jax.data.scans.series import Series, Slice
from bodycomp_jax.errors import InputError

SAME_DIRECTION = 1e-3  # difference of unit vectors
SAME_POSITION = 1e-2  # mm


@dataclasses.dataclass(frozen=True, slots=True)
class _Placed:
    """A slice with its header, and mm along the normal of its series."""

    slice: Slice
    header: Header
    along: float


def grouped(headers: Iterable[Header]) -> tuple[list[Series], list[Skipped]]:
    """The series that these slices form, and the slices that are not taken."""
    series: list[Series] = []
    left_out: list[Skipped] = []
    for group in _parallel(headers):
        distinct, duplicates = _without_duplicates(group)
        left_out += duplicates
        for part in _parts(distinct):
            try:
                series.append(_series(part))
            except InputError as error:
                left_out.append(skipped(part[0].header.path, error))
    return series, left_out


def _parallel(headers: Iterable[Header]) -> list[list[_Placed]]:
    """Slices of one series, size and orientation, each group sorted along its normal."""
    groups: dict[tuple, list[tuple[tuple, Vector, list[_Placed]]]] = collections.defaultdict(list)
    for header in headers:
        grid, turn = to_patient_orientation(header.grid)
        axes = (*grid.row_direction, *grid.column_direction)
        alike = groups[header.series_uid, header.common, grid.rows, grid.columns]
        near = (each for each in alike if math.dist(axes, each[0]) < SAME_DIRECTION)
        axes, normal, group = next(near, (axes, grid.normal, []))
        if not group:
            alike.append((axes, normal, group))
        placed = Slice(
            grid=grid,
            z=grid.middle[2],
            path=header.path,
            sop_instance_uid=header.sop_instance_uid,
            frame=header.frame,
            turn=turn,
            slope=1.0 if header.slope is None else header.slope,
            intercept=header.intercept or 0.0,
        )
        group.append(_Placed(placed, header, dot(normal, grid.middle)))
    return [
        sorted(group, key=lambda placed: placed.along)
        for alike in groups.values()
        for _, _, group in alike
    ]


def _at_positions(group: list[_Placed]) -> list[list[_Placed]]:
    """The slices at each position of a sorted group."""
    positions: list[list[_Placed]] = []
    for placed in group:
        if not positions or placed.along - positions[-1][0].along > SAME_POSITION:
            positions.append([])
        positions[-1].append(placed)
    return positions


def _without_duplicates(group: list[_Placed]) -> tuple[list[_Placed], list[Skipped]]:
    """The first file of each slice, by the order of paths, and the others.

    At one position, the same slice has the same SOPInstanceUID, or nothing that tells it apart.
    """
    kept: list[_Placed] = []
    duplicates: list[Skipped] = []
    for there in _at_positions(group):
        seen: dict[tuple, Header] = {}
        for placed in sorted(there, key=lambda p: (p.header.path, p.header.frame)):
            header = placed.header
            same = seen.get(_moment(header)) or seen.get((header.sop_instance_uid, header.frame))
            if same is not None:
                duplicates.append(Skipped(header.path, f'the same slice as {same.path}'))
                continue
            seen[_moment(header)] = header
            if header.sop_instance_uid:
                seen[header.sop_instance_uid, header.frame] = header
            kept.append(placed)
    return kept, duplicates


def _moment(header: Header) -> tuple[str, ...]:
    """What tells slices at one position apart; without numbers and time, SOPInstanceUID."""
    when = (header.acquisition, header.time, header.instance)
    return (*(when if any(when) else [header.sop_instance_uid]), str(header.frame))


def _parts(group: list[_Placed]) -> list[list[_Placed]]:
    """Parts with one slice at each position, such as the phases of a scan with contrast agent.

    Where positions repeat, an acquisition is a part. If that leaves single slices or still
    repeats positions, the first slices of all positions are a part, the second ones, and so on.
    """
    positions = _at_positions(group)
    most = max(map(len, positions))
    if most == 1:
        return [group]
    acquisitions = collections.defaultdict(list)
    for placed in group:
        acquisitions[placed.header.acquisition].append(placed)
    parts = list(acquisitions.values())
    repeats = any(len(_at_positions(part)) < len(part) for part in parts)
    if not repeats and (len(parts) == most or any(len(part) > 1 for part in parts)):
        return parts
    turns = [sorted(there, key=lambda placed: _order(placed.header)) for there in positions]
    return [[there[i] for there in turns if i < len(there)] for i in range(most)]


def _order(header: Header) -> tuple:
    """By time, then by the numbers, which are not padded with zeros."""
    numbers = (header.acquisition, header.instance)
    return (
        header.time,
        *((len(number), number) for number in numbers),
        header.sop_instance_uid,
        header.frame,
    )


def _series(part: list[_Placed]) -> Series:
    """Raises InputError if the values need not be HU."""
    first = part[0].header
    slices = tuple(placed.slice for placed in part)
    series = Series(
        slices,
        first.series_uid,
        first.series_uid or _name(part),
        DicomPixels(),
        functools.partial(read_metadata, first.path),
    )
    unscaled = [p for p in part if p.header.slope is None or p.header.intercept is None]
    if unscaled:
        hu = series.hu(len(part) // 2)
        if not looks_like_hu(hu.min(), hu.max()):
            raise InputError(
                f'RescaleSlope or RescaleIntercept is missing in {len(unscaled)} of {len(part)} '
                f'slices, and the values of the middle one, {hu.min()} to {hu.max()}, do not look '
                'like HU'
            )
    return series


def _name(part: list[_Placed]) -> str:
    """A name from where the slices of a series without a UID are; the same wherever it lies."""
    where = [(p.header.common[:2], dataclasses.astuple(p.slice.grid)) for p in part]
    return 'series-' + hashlib.sha256(repr(where).encode()).hexdigest()[:16]
