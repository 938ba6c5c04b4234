"""DICOM files as streams, and the elements in front of their pixels."""

import io
import logging
import os
import warnings
import zlib
from typing import Any, BinaryIO, cast

import pydicom
from pydicom.filereader import read_partial
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.file_formats import other_format
from bodycomp_jax.runtime.files import open_regular_file

START_BYTES = 1 << 16  # which hold what comes before the pixels of most files
WHOLE_BYTES = 1 << 25  # a file of up to this size is read at once
MAX_INFLATED_BYTES = 1 << 28
DEFLATED = DeflatedExplicitVRLittleEndian.encode()
MARK = b'DICM'  # at byte 128
BARE_STARTS = (b'\x08\0', b'\x02\0', b'\0\x08')  # first groups of files without a preamble
META_BYTES = 144  # preamble, mark and the element with the length of the file meta information
PIXELS = 0x7FE00008  # the first element that holds pixels

# What pydicom says of a file reaches the user in a message that names the file, or not at all.
warnings.filterwarnings('ignore', category=UserWarning, module='pydicom')
logging.getLogger('pydicom').setLevel(logging.CRITICAL)


def open_start(path: str) -> tuple[BinaryIO, int]:
    """A stream of the first bytes of a DICOM file, and the size of the file, inflated.

    Raises InputError for other files.
    """
    with os.fdopen(open_regular_file(path), 'rb') as file:
        start = file.read(START_BYTES)
        if start[128:132] != MARK and not start.startswith(BARE_STARTS):
            other = other_format(start, 'give DICOM files, or NIfTI files named .nii or .nii.gz')
            raise InputError(f'not a DICOM file{f", but {other}" if other else ""}')
        if DEFLATED in _meta(start):
            inflated = _inflated(start + file.read())
            return inflated, len(inflated.getbuffer())
        return io.BytesIO(start), os.fstat(file.fileno()).st_size


def open_whole(path: str) -> BinaryIO:
    """A stream of a whole DICOM file, which never allocates more than the file has.

    Raises InputError if it cannot be opened.
    """
    file = os.fdopen(open_regular_file(path), 'rb', buffering=0)
    size = os.fstat(file.fileno()).st_size
    if size > WHOLE_BYTES:
        return cast(BinaryIO, _Bounded(file, size))
    with file:
        content = file.read()
    return _inflated(content) if DEFLATED in _meta(content) else io.BytesIO(content)


def parse(stream: BinaryIO, tags: list[int], last: int) -> pydicom.Dataset:
    """These elements up to the tag `last`; leaves the stream at the first element after it.

    Raises InputError for what is not DICOM.
    """
    try:
        return read_partial(
            stream,
            stop_when=lambda tag, vr, length: int.__gt__(tag, last),
            specific_tags=cast(Any, tags),
            force=True,
        )
    except Exception as error:  # pydicom raises almost anything
        raise InputError(f'not a readable DICOM file ({error}); copy it again') from error


def transfer_syntax(dataset: pydicom.Dataset) -> pydicom.uid.UID:
    """How the file is encoded; from its elements where it does not say so."""
    uid = str(dataset.file_meta.get('TransferSyntaxUID', ''))
    if uid:
        return pydicom.uid.UID(uid)
    implicit, little = dataset.original_encoding
    if implicit:
        return pydicom.uid.ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian


class _Bounded(io.BufferedReader):
    """A file that allocates no more for a read than is left of it."""

    def __init__(self, raw: io.RawIOBase, size: int) -> None:
        super().__init__(raw)
        self._size = size

    def read(self, count: int | None = -1, /) -> bytes:
        left = max(0, self._size - self.tell())
        return super().read(left if count is None or count < 0 else min(count, left))


def _meta(start: bytes) -> bytes:
    """Preamble and file meta information."""
    return start[: META_BYTES + int.from_bytes(start[META_BYTES - 4 : META_BYTES], 'little')]


def _inflated(content: bytes) -> io.BytesIO:
    """A deflated file as it is without compression. Raises InputError for a damaged one."""
    meta = _meta(content)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        elements = inflate.decompress(content[len(meta) :], MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise InputError(f'cannot be inflated ({error}); copy the file again') from error
    if inflate.unconsumed_tail:
        raise InputError(f'inflates to more than {MAX_INFLATED_BYTES >> 20} MiB; inflate it first')
    plain = ExplicitVRLittleEndian.encode().ljust(len(DEFLATED), b'\0')
    return io.BytesIO(meta.replace(DEFLATED, plain) + elements)
