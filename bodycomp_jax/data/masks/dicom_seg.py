"""Masks in DICOM segmentations: frames of segments, each frame with its own position."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom.pixels import pixel_array

from bodycomp_jax.data.masks.labels import BACKGROUND, LabelMap, Names, add_class
from bodycomp_jax.data.masks.volume import MAX_VOXELS, LabelVolume
from bodycomp_jax.data.scans.grid import Grid, refuse_invalid
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import open_regular_file

SEGMENTATIONS = ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')  # 7: label maps
SAME_PLACE = 0.01  # mm
EXPORT = 'export the segmentation again'


class _Frame(NamedTuple):
    """A frame: where it is, in planes how far apart, and of which segment.

    The segment is None in label maps, where each pixel has the number of its segment.
    """

    grid: Grid
    depths: tuple[float, ...]  # mm, thickness and distance of planes
    segment: int | None


def read_segmentation(path: str, label_map: LabelMap, names: Names) -> LabelVolume:
    """The labels in a DICOM segmentation: planes where it has frames.

    Args:
      path: of the file.
      label_map: what its segments mean, by number, label or code.
      names: further names of segments, by number.

    Raises InputError for other files, for frames without positions and where two tissues overlap,
    and UnexplainedLabelError.
    """
    with _errors_named(path), open(open_regular_file(path), 'rb') as file:
        dataset = pydicom.dcmread(file)
        _refuse_other_object(dataset, path)
        frames = [_frame(dataset, i) for i in range(int(dataset.get('NumberOfFrames') or 1))]
        names = {number: (*texts, *names.get(number, ())) for number, texts in _names(dataset)}
        positions, plane_of = _planes(frames)
        grid = frames[0].grid
        if len(positions) * grid.rows * grid.columns > MAX_VOXELS:
            raise InputError(f'{len(positions)} planes of {grid.rows} x {grid.columns} pixels')
        labels = np.full((len(positions), grid.rows, grid.columns), BACKGROUND, np.uint8)
        for i, frame in enumerate(frames):
            _add_frame(labels[plane_of[i]], dataset, i, frame.segment, label_map, names, path)
    gaps = np.diff(positions @ grid.normal)
    return LabelVolume(
        path,
        labels,
        positions,
        grid.spacing[0] * np.array(grid.column_direction),
        grid.spacing[1] * np.array(grid.row_direction),
        float(min([*gaps, *frames[0].depths], default=1.0)),
        complete=False,
    )


@contextlib.contextmanager
def _errors_named(path: str) -> Iterator[None]:
    """InputErrors with the file, also for what pydicom raises where an element is invalid."""
    try:
        yield
    except InputError as error:
        text = str(error)
        raise type(error)(text if text.startswith(path) else f'{path}: {text}; {EXPORT}') from None
    except Exception as error:
        raise InputError(
            f'{path}: not a readable DICOM segmentation ({error}); {EXPORT}'
        ) from error


def _refuse_other_object(dataset: pydicom.Dataset, path: str) -> None:
    if dataset.get('SOPClassUID') not in SEGMENTATIONS:
        raise InputError(
            f'{path}: a DICOM file of modality {dataset.get("Modality", "unknown")}, expected SEG; '
            'RTSTRUCT contours and others have to be converted to a segmentation'
        )


def _frame(dataset: pydicom.Dataset, i: int) -> _Frame:
    """Raises InputError, without the file, for an invalid position."""
    groups = [
        *dataset.get('PerFrameFunctionalGroupsSequence', [])[i : i + 1],
        *dataset.get('SharedFunctionalGroupsSequence', [])[:1],
    ]

    def value(sequence: str, keyword: str, *, needed: bool = True) -> Any:
        items = [group[sequence][0] for group in groups if group.get(sequence)]
        found = next((item[keyword].value for item in items if item.get(keyword)), None)
        if found is None and needed:
            raise InputError(f'frame {i + 1} has no {keyword} in a {sequence}')
        return found

    cosines = map(float, value('PlaneOrientationSequence', 'ImageOrientationPatient'))
    ax, ay, az, dx, dy, dz = cosines
    row_mm, column_mm = map(float, value('PixelMeasuresSequence', 'PixelSpacing'))
    x, y, z = map(float, value('PlanePositionSequence', 'ImagePositionPatient'))
    size = int(dataset.Rows), int(dataset.Columns)
    grid = Grid(*size, (row_mm, column_mm), (x, y, z), (ax, ay, az), (dx, dy, dz))
    refuse_invalid(grid)
    depths = (
        value('PixelMeasuresSequence', keyword, needed=False)
        for keyword in ('SliceThickness', 'SpacingBetweenSlices')
    )
    segment = None
    if dataset.get('SegmentationType') != 'LABELMAP':
        segment = int(value('SegmentIdentificationSequence', 'ReferencedSegmentNumber'))
    return _Frame(grid, tuple(float(mm) for mm in depths if mm), segment)


def _names(dataset: pydicom.Dataset) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(number, label and codes) of each segment."""
    for segment in dataset.get('SegmentSequence', []):
        names = [segment.get('SegmentLabel')]
        for code in segment.get('SegmentedPropertyTypeCodeSequence') or []:
            value, scheme = code.get('CodeValue'), code.get('CodingSchemeDesignator')
            names += [code.get('CodeMeaning'), value, f'{scheme}:{value}']
        yield int(segment.SegmentNumber), tuple(str(name) for name in names if name)


def _planes(frames: Sequence[_Frame]) -> tuple[np.ndarray, np.ndarray]:
    """(`[K, 3]` positions of planes along the normal, `[F]` the plane of each frame)."""
    first = frames[0].grid
    positions = np.array([frame.grid.position for frame in frames])
    order = np.argsort(positions @ first.normal, kind='stable')
    begins = np.diff((positions @ first.normal)[order], prepend=-np.inf) > SAME_PLACE
    plane_of = np.empty(len(frames), int)
    plane_of[order] = np.cumsum(begins) - 1
    planes = positions[order[begins]]
    for i, (frame, place) in enumerate(zip(frames, planes[plane_of], strict=True)):
        axes = (frame.grid.spacing, frame.grid.row_direction, frame.grid.column_direction)
        wanted = (first.spacing, first.row_direction, first.column_direction)
        shift = np.abs(place - frame.grid.position).max()
        if shift > SAME_PLACE or not all(map(np.allclose, axes, wanted)):
            raise InputError(f'frame {i + 1} has another grid than those before')
    return planes, plane_of


def _add_frame(
    labels: np.ndarray,
    dataset: pydicom.Dataset,
    i: int,
    segment: int | None,
    label_map: LabelMap,
    names: Names,
    path: str,
) -> None:
    """Adds a frame to the `[R, C]` labels of its plane."""
    if segment is None:
        labels[:] = label_map.labels(_pixels(dataset, i), names, path)
        return
    name = names.get(segment) or ('without a name',)
    label = label_map.label_of_class(name, path, segment)
    if label == BACKGROUND:
        return
    pixels = _pixels(dataset, i)
    is_fractional = dataset.get('SegmentationType') == 'FRACTIONAL'
    threshold = (dataset.get('MaximumFractionalValue') or 255) / 2 if is_fractional else 1
    add_class(labels, pixels >= threshold, label, f'{path}: segment {segment} ({name[0]})')


def _pixels(dataset: pydicom.Dataset, i: int) -> np.ndarray:
    """`[R, C]` of a frame; raises InputError, without the file, if it is cut off.

    Frames of bits need not begin at a byte, but pydicom assumes that they do.
    """
    if dataset.BitsAllocated != 1 or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return pixel_array(dataset, index=i)
    count = dataset.Rows * dataset.Columns
    start, bit = divmod(i * count, 8)
    packed = np.frombuffer(dataset.PixelData, np.uint8)[start : start + (bit + count + 7) // 8]
    bits = np.unpackbits(packed, bitorder='little')[bit : bit + count]
    if bits.size < count:
        raise InputError(f'PixelData ends within frame {i + 1}')
    return bits.reshape(dataset.Rows, dataset.Columns)
