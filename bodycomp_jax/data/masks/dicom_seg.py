"""Masks in DICOM segmentations: frames of segments, each frame with its own position."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.encaps import get_frame
from pydicom.multival import MultiValue
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from bodycomp_jax.data.masks.labels import BACKGROUND, LabelMap, Names, add_class
from bodycomp_jax.data.masks.planes import ImageUids, LabelPlanes
from bodycomp_jax.data.scans import dicom_file
from bodycomp_jax.data.scans.codestream import refuse_damaged
from bodycomp_jax.data.scans.grid import Grid, Turn, refuse_invalid, to_patient_orientation
from bodycomp_jax.data.scans.reasons import naming
from bodycomp_jax.data.scans.tags import tags_of
from bodycomp_jax.errors import InputError

SEGMENTATIONS = ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')  # 7: label maps
SAME_PLACE = 0.01  # mm
EXPORT = 'export the segmentation again'


class _Frame(NamedTuple):
    """A frame; its segment is None in label maps, where each pixel has the number of its own."""

    grid: Grid  # in patient orientation
    turn: Turn
    thickness: float  # mm; 0 if unknown
    segment: int | None


def open_segmentation(path: str, label_map: LabelMap, names: Names) -> LabelPlanes:
    """The labels in a DICOM segmentation: planes where it has frames.

    Args:
      path: of the file.
      label_map: what its segments mean, by number, label or code.
      names: further names of segments, by number.

    Raises InputError for other files and for frames without positions, UnexplainedLabelError for a
    segment that nothing explains. Reading a plane raises InputError where two tissues overlap.
    """
    with naming(path), _invalid_elements():
        dicom_file.open_start(path)  # refuses other formats
        dataset = pydicom.dcmread(dicom_file.open_whole(path), force=True)
        _refuse_other_object(dataset)
        frames = [_frame(dataset, i) for i in range(_count(dataset))]
        names = {n: (*texts, *names.get(n, ())) for n, texts in _names(dataset)}
        label_of = {}
        for n in {frame.segment for frame in frames if frame.segment is not None}:
            label_of[n] = label_map.label_of_class(names.get(n) or ('without a name',), path, n)
        frames_of = _frames_of_planes([frame.grid for frame in frames])
        image = _image(dataset)

    def read(k: int) -> np.ndarray:
        grid = frames[frames_of[k][0]].grid
        labels = np.full((grid.rows, grid.columns), BACKGROUND, np.uint8)
        for i in frames_of[k]:
            with naming(path):
                pixels, segment = frames[i].turn.apply(_pixels(dataset, i)), frames[i].segment
            if segment is None:
                return label_map.labels(pixels, names, path)
            within = pixels >= _threshold(dataset)
            add_class(labels, within, label_of[segment], f'{path}: segment {segment}')
        return labels

    grids = tuple(frames[plane[0]].grid for plane in frames_of)
    return LabelPlanes(path, grids, frames[0].thickness, complete=False, read=read, image=image)


def is_segmentation(path: str) -> bool:
    """Whether a file is a DICOM segmentation."""
    try:
        tags = tags_of(['SOPClassUID'])
        elements = dicom_file.parse(dicom_file.open_start(path), tags, max(tags)).elements
    except InputError:
        return False
    return elements.text('SOPClassUID') in SEGMENTATIONS


@contextlib.contextmanager
def _invalid_elements() -> Iterator[None]:
    """InputErrors instead of what pydicom raises where an element is invalid."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f'not a readable DICOM segmentation ({error}); {EXPORT}') from error


def _refuse_other_object(dataset: pydicom.Dataset) -> None:
    if dataset.get('SOPClassUID') not in SEGMENTATIONS:
        raise InputError(
            f'a DICOM file of modality {dataset.get("Modality", "unknown")}, expected SEG; convert '
            'RTSTRUCT contours and others to a segmentation'
        )


def _count(dataset: pydicom.Dataset) -> int:
    """The number of frames."""
    count = int(dataset.get('NumberOfFrames') or 1)
    described = len(dataset.get('PerFrameFunctionalGroupsSequence') or [])
    if count != described:
        raise InputError(
            f'NumberOfFrames is {count}, but PerFrameFunctionalGroupsSequence describes '
            f'{described}; {EXPORT}'
        )
    return count


def _frame(dataset: pydicom.Dataset, i: int) -> _Frame:
    shared = dataset.get('SharedFunctionalGroupsSequence') or []
    groups = [dataset.PerFrameFunctionalGroupsSequence[i], *shared[:1]]

    def values(sequence: str, keyword: str) -> list[float]:
        items = [group[sequence][0] for group in groups if group.get(sequence)]
        found = next((item.get(keyword) for item in items if item.get(keyword) is not None), None)
        if found is None:
            raise InputError(f'frame {i + 1} has no {keyword} in a {sequence}; {EXPORT}')
        return [*map(float, found)] if isinstance(found, MultiValue) else [float(found)]

    ax, ay, az, dx, dy, dz = values('PlaneOrientationSequence', 'ImageOrientationPatient')
    row_mm, column_mm = values('PixelMeasuresSequence', 'PixelSpacing')
    x, y, z = values('PlanePositionSequence', 'ImagePositionPatient')
    size = int(dataset.Rows), int(dataset.Columns)
    stored = Grid(*size, (row_mm, column_mm), (x, y, z), (ax, ay, az), (dx, dy, dz))
    refuse_invalid(stored)
    segment = None
    if dataset.get('SegmentationType') != 'LABELMAP':
        segment = int(values('SegmentIdentificationSequence', 'ReferencedSegmentNumber')[0])
    measures = [group.get('PixelMeasuresSequence') for group in groups]
    thickness = next((float(m[0].get('SliceThickness') or 0) for m in measures if m), 0.0)
    return _Frame(*to_patient_orientation(stored), thickness, segment)


def _names(dataset: pydicom.Dataset) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(number, label and codes) of each segment."""
    for segment in dataset.get('SegmentSequence', []):
        names = [segment.get('SegmentLabel')]
        for code in segment.get('SegmentedPropertyTypeCodeSequence') or []:
            value, scheme = code.get('CodeValue'), code.get('CodingSchemeDesignator')
            names += [code.get('CodeMeaning'), value, f'{scheme}:{value}']
        yield int(segment.SegmentNumber), tuple(str(name) for name in names if name)


def _image(dataset: pydicom.Dataset) -> ImageUids:
    """What the segmentation was made on; no series if it refers to several."""
    series = [each.get('SeriesInstanceUID') for each in dataset.get('ReferencedSeriesSequence', [])]
    uids = dataset.get('FrameOfReferenceUID'), series[0] if len(series) == 1 else None
    return ImageUids(*(str(uid or '') for uid in uids))


def _frames_of_planes(grids: Sequence[Grid]) -> list[list[int]]:
    """The frames of each plane, from the feet to the head. Raises InputError for other grids."""
    first, positions = grids[0], np.array([grid.position for grid in grids])
    heights = positions @ first.normal
    planes: list[list[int]] = []
    for i in np.argsort(heights, kind='stable').tolist():
        if planes and heights[i] - heights[planes[-1][0]] <= SAME_PLACE:
            planes[-1].append(i)
        else:
            planes.append([i])
        shift = np.abs(positions[i] - positions[planes[-1][0]]).max()
        axes = zip(_axes(grids[i]), _axes(first), strict=True)
        if shift > SAME_PLACE or not all(np.allclose(*pair) for pair in axes):
            raise InputError(f'frame {i + 1} has another grid than others; {EXPORT}')
    return planes


def _axes(grid: Grid) -> tuple[tuple[float, ...], ...]:
    return grid.spacing, grid.row_direction, grid.column_direction


def _threshold(dataset: pydicom.Dataset) -> float:
    """The lowest number of a pixel within a segment."""
    if dataset.get('SegmentationType') != 'FRACTIONAL':
        return 1
    return (dataset.get('MaximumFractionalValue') or 255) / 2


def _pixels(dataset: pydicom.Dataset, i: int) -> np.ndarray:
    """`[R, C]` of a frame, as stored. Raises InputError, without the file.

    Frames of bits need not begin at a byte, but pydicom assumes that they do.
    """
    with _invalid_elements():
        syntax = dataset.file_meta.get('TransferSyntaxUID', ImplicitVRLittleEndian)
        if syntax.is_encapsulated and syntax != RLELossless:
            picture = get_frame(dataset.PixelData, i, number_of_frames=_count(dataset))
            refuse_damaged(picture, dataset.Rows, dataset.Columns)
        if syntax.is_encapsulated or dataset.BitsAllocated != 1:
            return pixel_array(dataset, index=i)
        content = np.frombuffer(dataset.PixelData, np.uint8)
        if syntax == ExplicitVRBigEndian and dataset['PixelData'].VR == 'OW':
            content = content.view('>u2').astype('<u2').view(np.uint8)
        count = dataset.Rows * dataset.Columns
        start, bit = divmod(i * count, 8)
        packed = content[start : start + (bit + count + 7) // 8]
        bits = np.unpackbits(packed, bitorder='little')[bit : bit + count]
        if bits.size < count:
            raise InputError(f'its pixels end within frame {i + 1}; copy it again')
        return bits.reshape(dataset.Rows, dataset.Columns)
