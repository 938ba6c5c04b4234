"""The slice that a DICOM object is made of, with all that the object must repeat of it."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator

import pydicom
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.uid import CTImageStorage, generate_uid
from pydicom.valuerep import DA, TM, DSfloat

from bodycomp_jax.data.masks.planes import DEFAULT_GAP
from bodycomp_jax.data.scans import Slice, Turn, dicom_file
from bodycomp_jax.data.scans.grid import MAX_SPACING
from bodycomp_jax.data.scans.headers import GEOMETRY, OF_FRAMES, elements_of_frames
from bodycomp_jax.data.scans.nifti import is_nifti_name
from bodycomp_jax.data.scans.reasons import naming
from bodycomp_jax.data.scans.tags import Elements, tag_of, tags_of
from bodycomp_jax.errors import InputError

UIDS_OF_SERIES = ('StudyInstanceUID', 'SeriesInstanceUID', 'FrameOfReferenceUID')
UIDS = (*UIDS_OF_SERIES, 'SOPInstanceUID')
TEXTS = (
    'PatientID', 'PatientSex', 'PatientBirthDate', 'AccessionNumber', 'StudyID', 'StudyDate',
    'StudyTime', 'StudyDescription', 'ReferringPhysicianName',
)  # fmt: skip
OTHERS = (
    'PatientName', 'SOPClassUID', 'Rows', 'Columns', 'SliceThickness', 'SpecificCharacterSet',
)  # fmt: skip
CONVERTERS: dict[str, Callable] = {'DA': DA, 'TM': TM}  # which refuse what files may hold
SEXES = ('M', 'F', 'O', '')
MAX_UID = 64  # characters


class NoSourceError(InputError):
    """The file of a slice cannot be the source of a DICOM object."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A slice as a DICOM image of its own.

    Attributes:
      image: its patient, study, series, identifiers and geometry, without pixels. Where a value of
        the file is missing or invalid, a UID is made up, the thickness is `DEFAULT_GAP`, and a text
        is empty. So is the name of the patient, since highdicom warns of many.
      patient_name: of the file.
      sop_class: of the file.
      turn: from the pixels of the file to patient orientation.
      frame: number of the slice in a multi-frame file; None in other files.
    """

    image: pydicom.Dataset
    patient_name: str
    sop_class: str
    turn: Turn
    frame: int | None

    def complete(self, made: pydicom.Dataset) -> None:
        """Adds to an object that was made of the image what the image could not say."""
        _set(made, 'PatientName', self.patient_name)
        for item in _items(made):
            if item.get('ReferencedSOPInstanceUID') == self.image.SOPInstanceUID:
                item.ReferencedSOPClassUID = self.sop_class
            for reference in item.get('SourceImageSequence', ()):
                if self.frame is not None:
                    reference.ReferencedFrameNumber = self.frame


def read_source(of: Slice) -> Source:
    """The slice as its file describes it.

    Raises NoSourceError if the file is a NIfTI file; InputError if it can no longer be read.
    """
    if is_nifti_name(of.path):
        raise NoSourceError(
            f'{of.path}: a NIfTI file has no patient, study and series, which a DICOM object must '
            'name; write NIfTI instead'
        )
    with naming(of.path), dicom_file.open_whole(of.path) as stream:
        tags = tags_of((*UIDS, *TEXTS, *OTHERS, *GEOMETRY)) + OF_FRAMES
        elements = dicom_file.parse(stream, tags, dicom_file.LAST_BEFORE_PIXELS).elements
        frames = elements_of_frames(elements)
        frame = of.frame + 1 if frames else None
        return _source(of, frames[of.frame] if frames else elements, frame)


def _source(of: Slice, elements: Elements, frame: int | None) -> Source:
    image = pydicom.Dataset()
    image.SpecificCharacterSet = 'ISO_IR 192'
    image.SOPClassUID, image.Modality, image.PatientName = CTImageStorage, 'CT', ''
    image.Rows, image.Columns = elements.integer('Rows'), elements.integer('Columns')
    for keyword, count in GEOMETRY.items():
        numbers = elements.numbers(keyword, count) or ()
        setattr(image, keyword, [DSfloat(number, auto_format=True) for number in numbers])
    image.SliceThickness = _thickness(elements)
    for keyword in TEXTS:
        text = elements.words(keyword)
        _set(image, keyword, text if _is_possible(keyword, text) else '')
    for keyword in UIDS:
        uid = elements.text(keyword)
        if not _is_possible(keyword, uid):
            of_series = [elements.text(each) for each in UIDS_OF_SERIES]
            place = [os.path.dirname(of.path)]
            if keyword == 'SOPInstanceUID':
                place = [of.path, str(of.frame)]
            uid = generate_uid(entropy_srcs=[keyword, *of_series, *place])
        _set(image, keyword, uid)
    sop_class = elements.text('SOPClassUID') or CTImageStorage
    return Source(image, elements.words('PatientName'), sop_class, of.turn, frame)


def _thickness(elements: Elements) -> float:
    """The thickness in mm; `DEFAULT_GAP` if there is none that is possible."""
    with contextlib.suppress(InputError):
        thickness = elements.number('SliceThickness')
        if thickness and 0 < thickness <= MAX_SPACING:
            return DSfloat(thickness, auto_format=True)
    return DEFAULT_GAP


def _set(dataset: pydicom.Dataset, keyword: str, text: str) -> None:
    """Sets a text as it is: one that is longer than the standard allows still identifies."""
    vr = dictionary_VR(keyword)
    dataset.add(pydicom.DataElement(tag_of(keyword), vr, text, validation_mode=IGNORE))


def _is_possible(keyword: str, text: str) -> bool:
    """Whether highdicom takes a value."""
    vr = dictionary_VR(keyword)
    if vr == 'UI':
        return bool(text) and len(text) <= MAX_UID and set(text) <= set('.0123456789')
    if keyword == 'PatientSex':
        return text in SEXES
    try:
        CONVERTERS.get(vr, str)(text)
    except (ValueError, OverflowError):
        return False
    return True


def _items(dataset: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """The items of the sequences of a dataset, at any depth."""
    for element in dataset:
        if element.VR == 'SQ':
            for item in element.value:
                yield item
                yield from _items(item)
