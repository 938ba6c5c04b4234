"""Slices of DICOM files put together to series."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Iterator

from bodycomp_jax.data.scans.grid import Vector, dot, to_patient_orientation
from bodycomp_jax.data.scans.headers import COMMON, Header
from bodycomp_jax.data.scans.hu import Span
from bodycomp_jax.data.scans.metadata import read_metadata
from bodycomp_jax.data.scans.pixels import DicomPixels
from bodycomp_jax.data.scans.reasons import Skipped, skipped
from bodycomp_jax.data.scans.series import Series, Slice
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import HASH_DIGITS

SAME_DIRECTION = 1e-3  # difference of unit vectors
SAME_POSITION = 1e-2  # mm
UID_TEXT = re.compile('[0-9][0-9.]{0,63}')  # what else a file has there does not become a name


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

    @contextlib.contextmanager
    def leaving_out(slices: list[_Placed]) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            left_out.append(skipped(slices[0].header.path, error))

    for group in _parallel(headers):
        distinct, duplicates = _without_duplicates(group)
        left_out += duplicates
        for part in _parts(distinct):
            phases: list[list[_Placed]] = []
            with leaving_out(part):
                phases = _phases(part)
            for phase in phases:
                with leaving_out(phase):
                    series.append(_series(phase))
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
    return [_sorted(group) for alike in groups.values() for _, _, group in alike]


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

    At one position, the same slice has the same SOPInstanceUID, or the same InstanceNumber in the
    same acquisition; where that is not known, phases may be numbered alike.
    """
    kept: list[_Placed] = []
    duplicates: list[Skipped] = []
    for there in _at_positions(group):
        seen: dict[tuple, Header] = {}
        for placed in sorted(there, key=lambda p: (p.header.path, p.header.frame)):
            header = placed.header
            identities = _identities(header)
            same = next((seen[each] for each in identities if each in seen), None)
            if same is not None:
                duplicates.append(Skipped(header.path, f'the same slice as {same.path}'))
                continue
            seen.update(dict.fromkeys(identities, header))
            kept.append(placed)
    return kept, duplicates


def _identities(header: Header) -> list[tuple]:
    """What only copies of a slice at one position share with it."""
    uid = (header.sop_instance_uid, header.frame)
    number = (header.acquisition, header.time, header.instance, header.frame)
    tells = header.acquisition or header.time or not header.sop_instance_uid
    return [uid] * bool(header.sop_instance_uid) + [number] * bool(header.instance and tells)


def _parts(group: list[_Placed]) -> list[list[_Placed]]:
    """Groups acquisitions that do not overlap along the normal; others start a new group.

    One whose positions repeat is a group by itself. Groups are sorted along the normal.
    """
    parts: list[list[list[_Placed]]] = []
    repeated = False
    for acquisition in _acquisitions(group):
        before, repeated = repeated, _repeats(acquisition)
        apart = before or repeated or not parts
        if apart or any(_overlap(other, acquisition) for other in parts[-1]):
            parts.append([])
        parts[-1].append(acquisition)
    return [_sorted(itertools.chain(*part)) for part in parts]


def _acquisitions(group: list[_Placed]) -> list[list[_Placed]]:
    """Slices with the same AcquisitionNumber, in their order in time.

    Those of one slice count as one acquisition where their positions repeat, or if all are such.
    """
    numbered = collections.defaultdict(list)
    for placed in group:
        numbered[placed.header.acquisition].append(placed)
    acquisitions = [slices for slices in numbered.values() if len(slices) > 1]
    single = _sorted(slices[0] for slices in numbered.values() if len(slices) == 1)
    together = _repeats(single) or not acquisitions
    acquisitions += [single] if together else [[each] for each in single]
    return sorted(acquisitions, key=lambda slices: min(map(_order, slices)))


def _overlap(one: list[_Placed], other: list[_Placed]) -> bool:
    """Whether the ranges of these acquisitions along the normal meet."""
    first, last = max(one[0].along, other[0].along), min(one[-1].along, other[-1].along)
    return last - first >= -SAME_POSITION


def _repeats(slices: list[_Placed]) -> bool:
    return len(_at_positions(slices)) < len(slices)


def _phases(part: list[_Placed]) -> list[list[_Placed]]:
    """Parts with one slice at each position, such as the phases of a scan with contrast agent.

    Where all positions have as many slices, the first ones are a phase, the second ones, and so on.
    Otherwise, a phase ends where the next slice in time does not follow in the direction of the
    scan. Raises InputError if that leaves more phases than slices at a position.
    """
    positions = _at_positions(part)
    count = max(map(len, positions))
    if all(len(there) == count for there in positions):
        turns = [sorted(there, key=_order) for there in positions]
        return [list(phase) for phase in zip(*turns, strict=True)]
    for direction in (1, -1):
        phases = _runs(sorted(part, key=_order), direction)
        if len(phases) == count:
            return [_sorted(phase) for phase in phases]
    raise InputError(
        f'1 to {count} slices at a position, and neither AcquisitionNumber nor AcquisitionTime nor '
        'InstanceNumber tells which belong together; export each phase as a series of its own'
    )


def _runs(slices: list[_Placed], direction: int) -> list[list[_Placed]]:
    """The slices parted wherever the next one does not lie in this direction."""
    runs = [slices[:1]]
    for before, placed in itertools.pairwise(slices):
        if (placed.along - before.along) * direction <= SAME_POSITION:
            runs.append([])
        runs[-1].append(placed)
    return runs


def _order(placed: _Placed) -> tuple:
    """By time, then by the numbers, which are not padded with zeros."""
    header = placed.header
    numbers = (header.instance, header.acquisition)
    return (
        header.time,
        *((len(number), number) for number in numbers),
        header.frame,
        placed.along,
        header.sop_instance_uid,
    )


def _sorted(slices: Iterable[_Placed]) -> list[_Placed]:
    return sorted(slices, key=lambda placed: placed.along)


def _series(phase: list[_Placed]) -> Series:
    """Raises InputError if the values need not be HU."""
    first = phase[0].header
    series = Series(
        tuple(placed.slice for placed in phase),
        first.series_uid,
        first.series_uid if UID_TEXT.fullmatch(first.series_uid) else _name(phase),
        DicomPixels,
        functools.partial(read_metadata, first.path),
        first.common[COMMON.index('FrameOfReferenceUID')],
    )
    doubts = [placed.header.doubt for placed in phase]
    for doubt in sorted({*doubts} - {''}):
        doubtful = [i for i, each in enumerate(doubts) if each == doubt]
        i = doubtful[len(doubtful) // 2]
        if fault := Span.of(series.hu(i)).fault:
            raise InputError(
                f'{doubt} in {len(doubtful)} of {len(phase)} slices, and one of them '
                f'({series.slices[i].path}) has {fault}'
            )
    return series


def _name(phase: list[_Placed]) -> str:
    """A name from where the slices of a series are in the patient; the same wherever it lies."""
    where = [(p.header.common[: len(COMMON)], dataclasses.astuple(p.slice.grid)) for p in phase]
    identity = repr((phase[0].header.series_uid, where))
    return 'series-' + hashlib.sha256(identity.encode()).hexdigest()[:HASH_DIGITS]
