"""DICOM files as streams of elements, of which few are wanted."""

import dataclasses
import io
import logging
import os
import warnings
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from pydicom import Dataset, config, dcmwrite
from pydicom.filereader import data_element_generator
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from bodycomp_jax.data.scans.tags import Elements, shown
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.file_formats import other_format
from bodycomp_jax.runtime.files import open_regular_file, replacing

START_BYTES = 1 << 16  # which hold what comes before the pixels of most files
WHOLE_BYTES = 1 << 22  # a file of up to this size is read at once
MAX_INFLATED_BYTES = 1 << 28
PREAMBLE_BYTES = 128
MARK = b'DICM'  # after the preamble
BARE_STARTS = (b'\x08\0', b'\x02\0', b'\0\x08')  # first groups of files without a preamble
META = b'\x02\0'  # group of the file meta information
LAST_OF_META = 0x0002FFFF
LAST_BEFORE_PIXELS = 0x7FE00007

# What pydicom says of a file reaches the user in a message that names the file, or not at all.
warnings.filterwarnings('ignore', category=UserWarning, module='pydicom')
logging.getLogger('pydicom').setLevel(logging.CRITICAL)


@dataclasses.dataclass(frozen=True)
class Contents:
    """The elements of a file that were wanted.

    Attributes:
      elements: those of the file meta information too.
      syntax: how the file is encoded.
      implicit: whether elements come without their type.
      rest: the stream, inflated, at the first element that was not read.
    """

    elements: Elements
    syntax: UID
    implicit: bool
    rest: BinaryIO


def open_start(path: str) -> BinaryIO:
    """A stream of the first bytes of a DICOM file. Raises InputError for other files."""
    with os.fdopen(open_regular_file(path), 'rb', buffering=0) as file:
        start = file.read(START_BYTES)
    if start[PREAMBLE_BYTES:].startswith(MARK) or start.startswith(BARE_STARTS):
        return io.BytesIO(start)
    other = other_format(start, 'give DICOM files, or NIfTI files named .nii or .nii.gz')
    raise InputError(f'not a DICOM file{f", but {other}" if other else ""}')


def parse_start(path: str, tags: list[int], last: int) -> Contents | None:
    """What `parse` finds in the first bytes of a file; None if they do not hold all of it.

    Raises InputError for other files.
    """
    start = open_start(path)
    try:
        contents = parse(start, tags, last)
    except InputError:
        if start.seek(0, io.SEEK_END) < START_BYTES:
            raise
        return None  # they end within an element
    return contents if _peek(contents.rest, 1) else None


def open_whole(path: str) -> BinaryIO:
    """A stream of a whole DICOM file, which never allocates more than the file has.

    Raises InputError if it cannot be opened.
    """
    file = os.fdopen(open_regular_file(path), 'rb', buffering=0)
    size = os.fstat(file.fileno()).st_size
    if size > WHOLE_BYTES:
        return cast(BinaryIO, _Bounded(file, size))
    with file:
        return io.BytesIO(file.read())


def parse(stream: BinaryIO, tags: list[int], last: int) -> Contents:
    """These elements of a file, up to the tag `last`. Raises InputError for what is not DICOM."""
    try:
        if stream.read(PREAMBLE_BYTES + len(MARK))[PREAMBLE_BYTES:] != MARK:
            stream.seek(0)
        meta = {}
        if _peek(stream, 2) == META:
            meta = dict(_elements(stream, False, True, None, LAST_OF_META))
        syntax = UID(Elements(meta).text('TransferSyntaxUID'), config.IGNORE)
        if syntax == DeflatedExplicitVRLittleEndian:
            stream = _inflated(stream)
        first = _peek(stream, 6)
        implicit = not (first[4:].isalpha() and first[4:].isupper())
        big_endian = syntax == ExplicitVRBigEndian or (not syntax and first.startswith(b'\0'))
        if not syntax:
            explicit = ExplicitVRBigEndian if big_endian else ExplicitVRLittleEndian
            syntax = ImplicitVRLittleEndian if implicit else explicit
        found = dict(_elements(stream, implicit, not big_endian, tags, last))
    except InputError:
        raise
    except Exception as error:  # pydicom raises almost anything
        raise InputError(
            f'not a readable DICOM file ({shown(str(error))}); copy it again'
        ) from error
    return Contents(Elements(meta | found), syntax, implicit, stream)


def _elements(
    stream: BinaryIO, implicit: bool, little_endian: bool, tags: list[int] | None, last: int
) -> Iterator[tuple[int, Any]]:
    """Leaves the stream at the first element after the tag `last`."""
    found = data_element_generator(
        stream,
        implicit,
        little_endian,
        stop_when=lambda tag, vr, length: int.__gt__(tag, last),
        specific_tags=cast(Any, tags),
    )
    return ((int(element.tag), element) for element in found)


def write_dicom(path: str, dataset: Dataset) -> None:
    """Writes an object. Raises OSError that names the path."""
    with replacing(path, binary=True) as file:
        dcmwrite(file, dataset, enforce_file_format=True)


def _peek(stream: BinaryIO, count: int) -> bytes:
    found = stream.read(count)
    stream.seek(-len(found), io.SEEK_CUR)
    return found


def _inflated(stream: BinaryIO) -> BinaryIO:
    """What follows in a stream, without its compression. Raises InputError for too much of it."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflate.decompress(stream.read(), MAX_INFLATED_BYTES)
    if inflate.unconsumed_tail:
        raise InputError(f'inflates to more than {MAX_INFLATED_BYTES >> 20} MiB; inflate it first')
    return io.BytesIO(content)


class _Bounded(io.BufferedReader):
    """A file that allocates no more for a read than is left of it."""

    def __init__(self, raw: io.RawIOBase, size: int) -> None:
        super().__init__(raw)
        self._size = size

    def read(self, count: int | None = -1, /) -> bytes:
        left = max(0, self._size - self.tell())
        return super().read(left if count is None or count < 0 else min(count, left))
