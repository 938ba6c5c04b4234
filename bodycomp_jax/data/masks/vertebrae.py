"""Where vertebral levels are, from masks of the vertebrae or of their bodies."""

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from bodycomp_jax.data.masks.labels import BACKGROUND, LabelMap
from bodycomp_jax.data.masks.mask import open_planes
from bodycomp_jax.data.masks.planes import LabelPlanes, refuse_other_image
from bodycomp_jax.data.scans import Series
from bodycomp_jax.errors import InputError, listed

LEVELS = (  # from the head down
    *(f'C{i}' for i in range(1, 8)),
    *(f'T{i}' for i in range(1, 14)),
    *(f'L{i}' for i in range(1, 7)),
    'S1',
)
_TRUNK = [level for level in LEVELS if level not in ('T13', 'L6')]
NUMBERS = {  # {level: number}
    'totalsegmentator': dict(zip(_TRUNK, range(50, 25, -1), strict=True)),
    'verse': {**dict(zip(_TRUNK[:-1], range(1, 25), strict=True)), 'L6': 25, 'T13': 28},
}
BODY_SHARE = 0.3  # of the largest cross-section: smaller ones belong to processes
BODY_HEIGHTS = {'C': (8, 45), 'T': (12, 45), 'L': (20, 45), 'S': (20, 45)}  # mm
MAX_DISTANCE = 60.0  # mm between neighbouring levels
MAX_SPECKS = 0.01  # of the voxels of a level
TOUCHING = np.ones((3, 3, 3))


@dataclasses.dataclass(frozen=True)
class Vertebrae:
    """The levels of a scan.

    Attributes:
      z: {level: mm of its reference point, positive towards the head}.
      rejected: {level: why there is none}.
    """

    z: dict[str, float]
    rejected: dict[str, str]


class _Extent(NamedTuple):
    """Where a vertebra is, in mm along z, positive towards the head."""

    middle: float  # mean of its voxels
    body: tuple[float, float]  # lower and upper end
    faults: list[str]


def level_map(preset: str | None = None) -> LabelMap:
    """What the values of a mask of vertebrae mean: index + 1 in `LEVELS`; others are background.

    Names such as 'L3' and 'vertebrae_L3' are known.

    Args:
      preset: one of `NUMBERS`, for values without a name.

    Raises InputError for an unknown preset.
    """
    if preset is not None and preset not in NUMBERS:
        raise InputError(
            f'--vertebra_numbers={preset}: no such convention; choose {", ".join(NUMBERS)}'
        )
    patterns = ('{}', 'vertebrae_{}', 'vertebra_{}', '{}_vertebra')
    keys = {p.format(level.lower()): i for i, level in enumerate(LEVELS, 1) for p in patterns}
    numbers = NUMBERS[preset] if preset is not None else {}
    return LabelMap(
        keys, {n: LEVELS.index(level) + 1 for level, n in numbers.items()}, BACKGROUND, None
    )


def read_vertebrae(
    path: str | os.PathLike[str],
    series: Series,
    levels: Sequence[str],
    label_map: LabelMap,
    reference: str = 'middle',
) -> Vertebrae:
    """The positions of levels, from a mask on any grid.

    A level must be one piece, must lie within the pixels of the scan, must not be cut by an end of
    it, must have the height of a vertebra and be in order with the others. The ends of the body are
    where the cross-section falls below `BODY_SHARE` of the largest; the processes are smaller.
    The whole mask is in memory, with a byte per voxel.

    Args:
      path: of a mask with positions, see `open_mask`.
      series: the scan.
      levels: names, such as 'L3'.
      label_map: of `level_map`.
      reference: one of `vertebrae.REFERENCES`: the mean of the voxels of the vertebra, or the lower
        end of its body.

    Raises InputError if the mask cannot be read, or is of another image.
    """
    planes = open_planes(os.fspath(path), label_map, {})
    refuse_other_image(planes, series, same_series=False)
    labels = np.stack([planes.read(k) for k in range(len(planes))])
    boxes = ndimage.find_objects(labels, max_label=len(LEVELS))
    found = {
        level: _extent(planes, labels, series, i, box)
        for i, (level, box) in enumerate(zip(LEVELS, boxes, strict=True), 1)
        if box is not None
    }
    _add_faults_of_order(found)
    z, rejected = {}, {}
    for level in levels:
        if level not in found:
            others = f'only {listed(found)}' if found else 'no level; check --vertebra_numbers'
            rejected[level] = f'{path}: {level} is not in the mask, which has {others}'
        elif found[level].faults:
            rejected[level] = f'{path}: {level} {", ".join(found[level].faults)}'
        else:
            extent = found[level]
            z[level] = extent.middle if reference == 'middle' else extent.body[0]
    return Vertebrae(z, rejected)


def _extent(
    planes: LabelPlanes, labels: np.ndarray, series: Series, label: int, box: tuple[slice, ...]
) -> _Extent:
    """Of the largest piece of a level within its bounding box in `[K, R, C]` labels."""
    pieces, count = ndimage.label(labels[box] == label, TOUCHING)
    sizes = np.bincount(pieces.ravel())[1:]
    k, r, c = np.nonzero(pieces == sizes.argmax() + 1)
    k, r, c = k + box[0].start, r + box[1].start, c + box[2].start
    row_mm, column_mm = planes.grids[0].spacing
    down, along = planes.grids[0].column_direction, planes.grids[0].row_direction
    points = planes.positions[k] + np.outer(r * row_mm, down) + np.outer(c * column_mm, along)
    z = points[:, 2]
    layer_of = np.rint((z - z.min()) / planes.gap)
    layers, areas = np.unique(layer_of, return_counts=True)
    ends = layers[areas >= BODY_SHARE * areas.max()][[0, -1]]
    low, high = (float(z[layer_of == layer].mean()) for layer in ends)
    body = (low - planes.gap / 2, high + planes.gap / 2)
    faults = []
    if sizes.sum() - sizes.max() > MAX_SPECKS * sizes.sum():
        faults.append(f'is in {count} pieces of {listed(sorted(sizes)[::-1])} voxels, expected one')
    if _is_cut(planes, series, k, points):
        faults.append('is cut by the end of the scan')
    if not _is_within(planes, series, points):
        faults.append(f'is not within the pixels of {series.slices[0].path}, so of another scan')
    lowest, highest = BODY_HEIGHTS[LEVELS[label - 1][0]]
    if not lowest <= body[1] - body[0] <= highest:
        faults.append(
            f'is {body[1] - body[0]:.0f} mm high, expected {lowest} to {highest} mm for its body'
        )
    return _Extent(float(z.mean()), body, faults)


def _is_cut(planes: LabelPlanes, series: Series, k: np.ndarray, points: np.ndarray) -> bool:
    """Whether voxels are in the first or last slice of the scan, or of a mask of a whole scan."""
    if planes.complete and (k.min() == 0 or k.max() == len(planes) - 1):
        return True
    normal = np.array(series.slices[0].grid.normal)
    first, last = (normal @ series.slices[i].grid.position for i in (0, -1))
    half = series.distances[[0, -1]] / 2 if len(series) > 1 else np.zeros(2)
    heights = points @ normal
    return bool(heights.min() < first + half[0] or heights.max() > last - half[1])


def _is_within(planes: LabelPlanes, series: Series, points: np.ndarray) -> bool:
    """Whether voxels are within the pixels of their slices, but for the size of a voxel."""
    grids = [each.grid for each in series.slices]
    first, positions = grids[0], np.array([grid.position for grid in grids])
    heights = positions @ first.normal
    nearest = np.searchsorted((heights[1:] + heights[:-1]) / 2, points @ first.normal)
    offsets = points - positions[nearest]
    margin = max(*first.spacing, *planes.grids[0].spacing)
    mm = offsets @ np.stack([first.column_direction, first.row_direction], axis=1)
    ends = (np.array([first.rows, first.columns]) - 1) * first.spacing
    return bool((mm >= -margin).all() and (mm <= ends + margin).all())


def _add_faults_of_order(found: Mapping[str, _Extent]) -> None:
    """Adds a fault to both of two neighbours that are in the wrong order or too far apart."""
    sound = [level for level, extent in found.items() if not extent.faults]
    for upper, lower in itertools.pairwise(sound):
        distance = found[upper].middle - found[lower].middle
        steps = LEVELS.index(lower) - LEVELS.index(upper)
        if not 0 < distance <= MAX_DISTANCE * steps:
            for level, other in ((upper, lower), (lower, upper)):
                found[level].faults.append(
                    f'does not fit {other}: {upper} is {distance:.0f} mm above {lower}, expected '
                    f'0 to {MAX_DISTANCE * steps:.0f} mm'
                )
