"""What the header of a DICOM file says of each of its slices."""

import dataclasses
import functools
import os
import re
from typing import cast

from pydicom import config
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
)

from bodycomp_jax.data.scans import dicom_file
from bodycomp_jax.data.scans.grid import Grid, Vector, refuse_far, refuse_invalid
from bodycomp_jax.data.scans.reasons import Skipped
from bodycomp_jax.data.scans.tags import Elements, named, shown, tags_of
from bodycomp_jax.errors import InputError

MULTI_FRAME = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
OF_FILE = tags_of((
    'ImageType', 'SOPClassUID', 'SOPInstanceUID', 'AcquisitionTime', 'Modality', 'PatientID',
    'StudyInstanceUID', 'SeriesInstanceUID', 'SeriesNumber', 'AcquisitionNumber', 'InstanceNumber',
    'ImagePositionPatient', 'ImageOrientationPatient', 'FrameOfReferenceUID',
    'SamplesPerPixel', 'NumberOfFrames', 'Rows', 'Columns', 'PixelSpacing', 'BitsAllocated',
    'BitsStored', 'HighBit', 'RescaleIntercept', 'RescaleSlope', 'RescaleType',
))  # fmt: skip
LAST_OF_FILE = max(OF_FILE)
OF_FRAMES = tags_of(('SharedFunctionalGroupsSequence', 'PerFrameFunctionalGroupsSequence'))
COMMON = ('PatientID', 'FrameOfReferenceUID', 'StudyInstanceUID')  # of the slices of a series
GEOMETRY = {'ImagePositionPatient': 3, 'ImageOrientationPatient': 6, 'PixelSpacing': 2}
FRAME_MACROS = (
    'PlanePositionSequence', 'PlaneOrientationSequence', 'PixelMeasuresSequence',
    'PixelValueTransformationSequence', 'FrameContentSequence', 'CTImageFrameTypeSequence',
    'CTReconstructionSequence', 'CTExposureSequence', 'CTXRayDetailsSequence',
)  # fmt: skip
HU_NAMED = ('HU', 'HU_MOD')  # values of RescaleType
PERHAPS_HU = re.compile(r'US|UNSPECIFIED|(HU|HOUNSFIELD).*')  # US is "unspecified"
NOT_HU = {  # words of ImageType
    'MIP', 'MAXIP', 'MINIP', 'MAXIMUM', 'MINIMUM', 'PROJECTION', 'VRT', 'VOLREN', 'SSD', 'MD',
    'IODINE', 'ZEFF', 'RHO', 'PERFUSION', 'CBF', 'CBV', 'MTT', 'TTP', 'SUBTRACTION', 'DIVISION',
    'MULTIPLICATION', 'QUANTITY', 'LOCALIZER', 'SCOUT', 'MAT_SPECIFIC', 'MAT_FRACTIONAL',
    'EFF_ATOMIC_NUM', 'ELECTRON_DENSITY',
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """A slice as its file describes it.

    Attributes:
      path: of the file.
      frame: index of the slice in the file.
      grid: of the pixels as they are stored.
      sop_instance_uid: '' if unknown.
      series_uid: SeriesInstanceUID; '' if unknown.
      common: what the slices of a series have in common besides `series_uid`; first `COMMON`.
      acquisition, time, instance: number, time and number in the series; '' if unknown.
      slope, intercept: from stored numbers to HU; None if unknown.
      doubt: why the values may be others than HU; '' if the header says that they are HU.
    """

    path: str
    frame: int
    grid: Grid
    sop_instance_uid: str
    series_uid: str
    common: tuple[str, ...]
    acquisition: str
    time: str
    instance: str
    slope: float | None
    intercept: float | None
    doubt: str


def read_headers(path: str) -> tuple[list[Header], list[Skipped]]:
    """The header of each axial CT slice in a file, and the frames that are no such slices.

    Most files are read up to their pixels: whether PixelData follows is known only when the pixels
    are asked for.

    Raises InputError if the file holds no CT image.
    """
    contents, has_more = dicom_file.parse_start(path, OF_FILE, LAST_OF_FILE), True
    if contents is None or _sop_class(contents.elements) in MULTI_FRAME:
        with dicom_file.open_whole(path) as stream:
            tags = OF_FILE + OF_FRAMES
            contents = dicom_file.parse(stream, tags, dicom_file.LAST_BEFORE_PIXELS)
            has_more = bool(contents.rest.read(1))
    elements = contents.elements
    _refuse_other_objects(elements)
    if not has_more:
        raise InputError('no pixels: the file ends with its header; copy it again')
    _refuse_undecodable(elements, contents.syntax, os.stat(path).st_size)
    if _sop_class(elements) in MULTI_FRAME:
        return _frame_headers(path, elements)
    if elements.number('NumberOfFrames') not in (None, 1):
        raise InputError(
            f'{named("NumberOfFrames")} is {shown(elements.text("NumberOfFrames"))} in a file for '
            'one slice; export the series again'
        )
    return [_header(path, 0, elements)], []


def elements_of_frames(elements: Elements) -> list[Elements]:
    """Of each frame of a multi-frame file: its own elements, the shared ones, those of the file."""
    shared = elements.items('SharedFunctionalGroupsSequence')[:1]
    frames = []
    for frame in elements.items('PerFrameFunctionalGroupsSequence'):
        macros = [
            item
            for groups in (frame, *shared)
            for macro in FRAME_MACROS
            for item in groups.items(macro)[:1]
        ]
        frames.append(elements.covered_by(*macros))
    return frames


def _frame_headers(path: str, elements: Elements) -> tuple[list[Header], list[Skipped]]:
    frames = elements_of_frames(elements)
    if len(frames) != (elements.number('NumberOfFrames') or 1):
        raise InputError(
            f'{len(frames)} items of PerFrameFunctionalGroupsSequence, but '
            f'{named("NumberOfFrames")} is {shown(elements.text("NumberOfFrames"))}; the file is '
            'damaged, export it again'
        )
    headers: list[Header] = []
    skipped: list[Skipped] = []
    for i, frame in enumerate(frames):
        try:
            headers.append(_header(path, i, frame))
        except InputError as error:
            skipped.append(Skipped(path, f'frame {i + 1} of {len(frames)}: {error}'))
    return headers, skipped


def _header(path: str, frame: int, elements: Elements) -> Header:
    _refuse_other_values(elements)
    series_uid = elements.text('SeriesInstanceUID')
    place = [] if series_uid else [os.path.dirname(path), elements.text('SeriesNumber')]
    return Header(
        path=path,
        frame=frame,
        grid=_grid(elements),
        sop_instance_uid=elements.text('SOPInstanceUID'),
        series_uid=series_uid,
        common=(*map(elements.text, COMMON), *place),
        acquisition=_acquisition(elements),
        time=elements.first('FrameAcquisitionDateTime', 'AcquisitionTime'),
        instance=elements.text('InstanceNumber'),
        slope=elements.number('RescaleSlope'),
        intercept=elements.number('RescaleIntercept'),
        doubt=_doubt(elements),
    )


def _acquisition(elements: Elements) -> str:
    of_frame = elements.integer('FrameAcquisitionNumber')
    return elements.text('AcquisitionNumber') if of_frame is None else str(of_frame)


def _grid(elements: Elements) -> Grid:
    """The grid as stored. Raises InputError if it is unknown or not axial."""
    position, orientation, spacing = map(elements.numbers, GEOMETRY, GEOMETRY.values())
    if position is None or orientation is None or spacing is None:
        missing = next(keyword for keyword in GEOMETRY if not elements.text(keyword).strip('\\'))
        raise InputError(f'{named(missing)} is missing: where the slice is cannot be known')
    grid = Grid(
        elements.integer('Rows') or 0,
        elements.integer('Columns') or 0,
        cast(tuple[float, float], spacing),
        cast(Vector, position),
        cast(Vector, orientation[:3]),
        cast(Vector, orientation[3:]),
    )
    refuse_invalid(grid)
    refuse_far(grid)
    return grid


def _sop_class(elements: Elements) -> str:
    return elements.first('SOPClassUID', 'MediaStorageSOPClassUID')


def _refuse_other_objects(elements: Elements) -> None:
    sop_class = _sop_class(elements)
    if sop_class not in ('', CTImageStorage, *MULTI_FRAME):
        raise InputError(f'not a CT image, but {shown(UID(sop_class, config.IGNORE).name)}')
    modality = elements.text('Modality')
    if modality != 'CT' and (modality or not sop_class):
        raise InputError(f'not a CT image: {named("Modality")} is {shown(modality)}')
    samples = elements.integer('SamplesPerPixel')
    bits = elements.integer('BitsAllocated')
    if samples not in (None, 1) or bits not in (None, 16, 32):
        raise InputError(
            f'a picture of {bits} bits and {samples} colours a pixel; HU need 16 bits and one'
        )


def _refuse_undecodable(elements: Elements, syntax: UID, size: int) -> None:
    """Raises InputError for compression without a decoder, other bits, and too few bytes."""
    if not _is_decodable(syntax):
        raise InputError(
            f'compressed as {shown(syntax.name)}, for which there is no decoder; decompress it, '
            'such as with gdcmconv --raw'
        )
    allocated = elements.integer('BitsAllocated') or 16
    stored, high = elements.integer('BitsStored') or allocated, elements.integer('HighBit')
    if high not in (None, stored - 1):
        raise InputError(
            f'{named("HighBit")} is {high} and {named("BitsStored")} {stored}; expected '
            f'{stored - 1}, the pixels in the lowest bits: export the series again'
        )
    pixels = (elements.integer('Rows') or 0) * (elements.integer('Columns') or 0)
    frames = elements.number('NumberOfFrames') or 1
    needed = pixels * frames * allocated / 8
    if syntax in NATIVE and size < needed:
        raise InputError(
            f'truncated: {size:,} bytes, but its pixels need {needed:,.0f}; copy it again'
        )


@functools.cache
def _is_decodable(syntax: UID) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _refuse_other_values(elements: Elements) -> None:
    """Raises InputError for images whose values are not HU."""
    image_type, rescale_type = _types(elements)
    if rescale_type not in (*HU_NAMED, '') and not PERHAPS_HU.fullmatch(rescale_type):
        raise InputError(f'no HU: {named("RescaleType")} is {shown(rescale_type)}')
    if elements.number('RescaleSlope') == 0:
        raise InputError(f'no HU: {named("RescaleSlope")} is 0')
    words = {*re.split(r'[^A-Z0-9]+', image_type), *re.split(r'[^A-Z0-9_]+', image_type)}
    if words & NOT_HU:
        raise InputError(f'no HU: {named("ImageType")} is {shown(image_type)}')


def _doubt(elements: Elements) -> str:
    """Why the values may be others than HU; '' if they are HU."""
    if None in map(elements.number, ('RescaleSlope', 'RescaleIntercept')):
        return 'RescaleSlope or RescaleIntercept is missing'
    image_type, rescale_type = _types(elements)
    if rescale_type in HU_NAMED:
        return ''
    if rescale_type:
        return f'{named("RescaleType")} is {shown(rescale_type)}'
    if image_type.split('\\')[:2] == ['DERIVED', 'SECONDARY']:
        return f'{named("ImageType")} is {shown(image_type)}, and RescaleType is missing'
    return ''


def _types(elements: Elements) -> tuple[str, str]:
    """ImageType and RescaleType in capitals."""
    image_type = elements.first('FrameType', 'ImageType')
    return image_type.upper(), elements.text('RescaleType').upper()
