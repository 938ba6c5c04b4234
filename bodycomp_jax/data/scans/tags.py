"""Values of DICOM data elements, from their bytes.

pydicom converts a value when it is asked for, with a warning or an error of its own for what
scanners and anonymisers write; here an error names the tag and the value.
"""

import functools
import math

import pydicom
from pydicom.charset import decode_bytes, python_encoding
from pydicom.datadict import tag_for_keyword

from bodycomp_jax.errors import InputError


@functools.cache
def tag_of(keyword: str) -> int:
    """The number of an element. Raises KeyError for an unknown keyword."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


class Elements:
    """Elements by keyword, each of the first dataset that has a value for it."""

    def __init__(self, *datasets: pydicom.Dataset) -> None:
        self.datasets = datasets

    def text(self, keyword: str) -> str:
        """Codes separated by backslashes, without padding; '' if there is no value."""
        return '\\'.join(part.strip(' \0') for part in self._text(keyword, ['latin-1']).split('\\'))

    def words(self, keyword: str) -> str:
        """A text in the character set of the file; '' if there is no value."""
        names = self.text('SpecificCharacterSet').split('\\')
        encodings = [python_encoding.get(name, 'iso8859') for name in names]
        return self._text(keyword, encodings).strip(' \0')

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """So many decimal numbers; None if there is no value. Raises InputError for others."""
        text = self.text(keyword)
        if not text.strip('\\'):
            return None
        try:
            values = tuple(map(float, text.split('\\')))
        except ValueError:
            raise _invalid(keyword, text, 'a decimal point and no other signs') from None
        if len(values) != count or not all(map(math.isfinite, values)):
            raise _invalid(keyword, text, f'{count} finite number{"s" * (count > 1)}')
        return values

    def number(self, keyword: str) -> float | None:
        """A decimal number; None if there is no value. Raises InputError for others."""
        values = self.numbers(keyword, 1)
        return values[0] if values else None

    def integer(self, keyword: str) -> int | None:
        """An unsigned 16-bit number; None if there is no value. Raises InputError for others."""
        value, little_endian = self._find(keyword)
        if value is None or isinstance(value, int):
            return value
        if not isinstance(value, bytes) or len(value) != 2:
            raise _invalid(keyword, repr(value), 'a 16-bit number')
        return int.from_bytes(value, 'little' if little_endian else 'big')

    def items(self, keyword: str) -> list[pydicom.Dataset]:
        """The items of a sequence; none if it is missing. Raises InputError for others."""
        for dataset in self.datasets:
            try:
                items = dataset.get(keyword)
                if items:
                    return [item for item in items if isinstance(item, pydicom.Dataset)]
            except Exception as error:  # pydicom raises almost anything
                raise _invalid(keyword, str(error), 'a readable sequence') from error
        return []

    def _text(self, keyword: str, encodings: list[str]) -> str:
        value, _ = self._find(keyword)
        if not isinstance(value, bytes):
            return '' if value is None else str(value)
        if len(encodings) > 1:
            return decode_bytes(value, encodings, {ord('\\')})
        return value.decode(encodings[0], 'replace')

    def _find(self, keyword: str) -> tuple[object, bool]:
        """The bytes of an element, and whether they are little-endian; None for no value.

        Elements in sequences that pydicom has read already may have another type.
        """
        for dataset in self.datasets:
            element = dataset.get_item(tag_of(keyword))
            if element is not None and element.value not in (None, b'', ''):
                return element.value, getattr(element, 'is_little_endian', True)
        return None, True


def _invalid(keyword: str, found: str, wanted: str) -> InputError:
    tag = tag_of(keyword)
    return InputError(
        f'{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X}) is {found!r}; expected {wanted}'
    )
