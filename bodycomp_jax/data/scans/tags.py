"""Values of DICOM data elements, from their bytes.

pydicom converts a value when it is asked for, with a warning or an error of its own for what
scanners and anonymisers write; here an error names the tag and the value.
"""

import functools
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from pydicom.charset import decode_bytes, python_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement, convert_raw_data_element

from bodycomp_jax.errors import InputError

MAX_SHOWN = 160  # characters


@functools.cache
def tag_of(keyword: str) -> int:
    """The number of an element. Raises KeyError for an unknown keyword."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


def tags_of(keywords: Iterable[str]) -> list[int]:
    """The numbers of elements. Raises KeyError for an unknown keyword."""
    return [tag_of(keyword) for keyword in keywords]


class Elements:
    """The elements of a dataset by keyword, as pydicom reads them from a file."""

    def __init__(self, by_tag: Mapping[int, Any]) -> None:
        self._by_tag = by_tag

    def covered_by(self, *others: 'Elements') -> 'Elements':
        """These elements, replaced by those of others that have a value; the first wins."""
        merged = dict(self._by_tag)
        for other in reversed(others):
            merged.update(
                (tag, e) for tag, e in other._by_tag.items() if e.value not in (None, b'')
            )
        return Elements(merged)

    def value(self, keyword: str) -> bytes:
        """The bytes of an element; none if it is missing."""
        element = self._by_tag.get(tag_of(keyword))
        value = None if element is None else element.value
        return value if isinstance(value, bytes) else b''

    def text(self, keyword: str) -> str:
        """Codes separated by backslashes, without padding; '' if there is no value."""
        text = self.value(keyword).decode('latin-1')
        if '\\' in text:
            return '\\'.join(part.strip(' \0') for part in text.split('\\'))
        return text.strip(' \0')

    def first(self, *keywords: str) -> str:
        """The first of these texts that is not empty."""
        return next(filter(None, map(self.text, keywords)), '')

    def words(self, keyword: str) -> str:
        """A text in the character set of the file; '' if there is no value."""
        names = self.text('SpecificCharacterSet').split('\\')
        encodings = [python_encoding.get(name, 'iso8859') for name in names]
        value = self.value(keyword).strip(b' \0')
        if len(encodings) > 1:
            return decode_bytes(value, encodings, {ord('\\')})
        return value.decode(encodings[0], 'replace')

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """So many decimal numbers; None if there is no value. Raises InputError for others."""
        text = self.text(keyword)
        if not text.strip('\\'):
            return None
        try:
            values = tuple(map(float, text.split('\\')))
        except ValueError:
            raise _invalid(keyword, text, 'numbers with a decimal point') from None
        if len(values) != count or not all(map(math.isfinite, values)):
            raise _invalid(keyword, text, f'{count} finite number{"s" * (count > 1)}')
        return values

    def number(self, keyword: str) -> float | None:
        """A decimal number; None if there is no value. Raises InputError for others."""
        values = self.numbers(keyword, 1)
        return values[0] if values else None

    def double(self, keyword: str) -> float | None:
        """A finite number of eight bytes; None if there is no other value."""
        value = self.value(keyword)
        if len(value) != 8:
            return None
        order = '<' if self._by_tag[tag_of(keyword)].is_little_endian else '>'
        (number,) = struct.unpack(f'{order}d', value)
        return number if math.isfinite(number) else None

    def integer(self, keyword: str) -> int | None:
        """An unsigned 16-bit number; None if there is no value. Raises InputError for others."""
        value = self.value(keyword)
        if not value:
            return None
        if len(value) != 2:
            raise _invalid(keyword, value.hex(), 'two bytes')
        is_little_endian = self._by_tag[tag_of(keyword)].is_little_endian
        return int.from_bytes(value, 'little' if is_little_endian else 'big')

    def items(self, keyword: str) -> list['Elements']:
        """The items of a sequence; none if it is missing. Raises InputError for others."""
        element = self._by_tag.get(tag_of(keyword))
        try:
            if isinstance(element, RawDataElement):
                element = convert_raw_data_element(element)
            datasets = element.value if element else ()
            return [Elements({int(e.tag): e for e in dataset.values()}) for dataset in datasets]
        except Exception as error:  # pydicom raises almost anything
            raise _invalid(keyword, f'unreadable ({error})', 'a sequence') from error


def named(keyword: str) -> str:
    """The keyword and the number of an element, for messages."""
    tag = tag_of(keyword)
    return f'{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})'


def shown(text: str) -> str:
    """A text in quotes for messages, which a damaged file can make as long as the file."""
    return repr(text if len(text) <= MAX_SHOWN else f'{text[:MAX_SHOWN]}...')


def _invalid(keyword: str, found: str, wanted: str) -> InputError:
    return InputError(f'{named(keyword)} is {shown(found)}; expected {wanted}')
