"""Values of DICOM data elements, from their bytes.

pydicom converts a value when it is asked for, with a warning or an error of its own for what
scanners and anonymisers write; here an error names the file, the tag and the value.
"""

import math
from collections.abc import Sequence

import pydicom
from pydicom.datadict import tag_for_keyword

from bodycomp_jax.errors import InputError

TAGS = {
    keyword: tag_for_keyword(keyword)
    for keyword in (
        'ImageType', 'SOPClassUID', 'SOPInstanceUID', 'AcquisitionTime', 'Modality', 'PatientID',
        'SeriesInstanceUID', 'SeriesNumber', 'AcquisitionNumber', 'InstanceNumber',
        'ImagePositionPatient', 'ImageOrientationPatient', 'FrameOfReferenceUID',
        'SamplesPerPixel', 'NumberOfFrames', 'Rows', 'Columns', 'PixelSpacing', 'BitsAllocated',
        'PixelRepresentation', 'PixelPaddingValue', 'PixelPaddingRangeLimit', 'RescaleIntercept',
        'RescaleSlope', 'RescaleType', 'FrameAcquisitionNumber', 'FrameAcquisitionDateTime',
        'FrameType',
    )
}  # fmt: skip


class Elements:
    """The elements of a dataset by keyword; '' or None for those that are missing or empty."""

    def __init__(self, dataset: pydicom.Dataset, path: str) -> None:
        self._dataset, self._path = dataset, path

    def text(self, keyword: str) -> str:
        """Values separated by backslashes, without padding."""
        return '\\'.join(part.strip(' \0') for part in self._bytes(keyword).split('\\'))

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """So many decimal numbers. Raises InputError for anything else."""
        text = self.text(keyword)
        if not text.strip('\\'):
            return None
        try:
            values = tuple(map(float, text.split('\\')))
        except ValueError:
            raise self._invalid(keyword, text, 'numbers with a decimal point') from None
        if len(values) != count or not all(map(math.isfinite, values)):
            raise self._invalid(keyword, text, f'{count} finite number{"s" * (count > 1)}')
        return values

    def number(self, keyword: str) -> float | None:
        """A decimal number. Raises InputError for anything else."""
        values = self.numbers(keyword, 1)
        return None if values is None else values[0]

    def integer(self, keyword: str) -> int | None:
        """An unsigned 16-bit number. Raises InputError for another length."""
        element = self._dataset.get_item(TAGS[keyword])
        value = None if element is None else element.value
        if isinstance(value, int) or not value:
            return value if isinstance(value, int) else None
        if len(value) != 2:
            raise self._invalid(keyword, repr(value), 'a 16-bit number')
        return int.from_bytes(value, 'little' if element.is_little_endian else 'big')

    def _bytes(self, keyword: str) -> str:
        element = self._dataset.get_item(TAGS[keyword])
        value = None if element is None else element.value
        if isinstance(value, bytes):
            return value.decode('latin-1')
        if isinstance(value, Sequence) and not isinstance(value, str):
            return '\\'.join(map(str, value))
        return '' if value is None else str(value)

    def _invalid(self, keyword: str, found: str, wanted: str) -> InputError:
        tag = TAGS[keyword]
        return InputError(
            f'{self._path}: {keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X}) is {found!r}; expected '
            f'{wanted}'
        )
