"""TAG files of sliceOmatic: label images with a text header.

The header has lines `keyword:value` that end with CR LF; `*` begins a comment, a form feed ends the
header. A byte per pixel follows, rows from the top.
"""

import dataclasses
import os

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.file_formats import other_format
from bodycomp_jax.runtime.files import explained, open_regular_file

MAX_HEADER_BYTES = 1 << 16
FORM_FEED = b'\x0c'
EXPORT = 'save the TAG file of this slice again'


@dataclasses.dataclass(frozen=True)
class Tag:
    """A label image and the unique identifier in its header, '' if there is none.

    Attributes:
      labels: `[y, x]` uint8.
      uid: of the slice or of its series.
    """

    labels: np.ndarray
    uid: str


def read_tag(path: str | os.PathLike[str]) -> Tag:
    """Reads a TAG file of one slice.

    Raises InputError for other files.
    """
    try:
        with open(open_regular_file(path), 'rb') as file:
            start = file.read(MAX_HEADER_BYTES)
            fields = _fields(path, start)
            x, y = (_side(path, fields, name) for name in 'xy')
            if fields.get('z', '1') != '1':
                raise InputError(f'{path}: z is {fields["z"]}, expected 1; save a file per slice')
            offset = start.index(FORM_FEED) + 1
            size = os.fstat(file.fileno()).st_size
            file.seek(offset)
            before = file.read(max(0, min(size - offset - x * y, MAX_HEADER_BYTES)))
            if size < offset + x * y or before.strip():
                raise InputError(
                    f'{path}: {size - offset:,} bytes after the header, which describes {x} x {y} '
                    'pixels of a byte; it is truncated or of another type, copy or save it again'
                )
            file.seek(-x * y, os.SEEK_END)
            labels = np.frombuffer(file.read(x * y), np.uint8).reshape(y, x)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({explained(error, "")})') from error
    return Tag(labels, fields.get('uid', ''))


def _fields(path: str | os.PathLike[str], start: bytes) -> dict[str, str]:
    """{keyword: value} of the header."""
    header, end, _ = start.partition(FORM_FEED)
    lines = [line.partition('*')[0].strip() for line in header.decode('latin-1').splitlines()]
    pairs = [line.partition(':') for line in lines if line]
    if not end or not all(colon for _, colon, _ in pairs):
        other = other_format(start, EXPORT) or EXPORT
        raise InputError(f'{path}: no TAG file (keyword:value lines, then a form feed); {other}')
    return {keyword.strip().lower(): value.strip() for keyword, _, value in pairs}


def _side(path: str | os.PathLike[str], fields: dict[str, str], name: str) -> int:
    """The number of columns, x, or rows, y."""
    text = fields.get(name, '')
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) <= ct.MAX_SIDE):
        raise InputError(
            f'{path}: {name} is {text!r}, expected 1 to {ct.MAX_SIDE} pixels; {EXPORT}'
        )
    return int(text)
