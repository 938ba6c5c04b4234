"""The shape of a compressed picture, from its own header, and whether it is complete.

The decoders allocate what that header asks for, and a damaged one ends the process. They fill up
a truncated picture without an error.
"""

import struct

JPEG = b'\xff\xd8'  # JPEG-LS too
JPEG_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)
END = b'\xff\xd9'  # of all of them
MAX_BOXES = 1024  # bytes before the codestream in a JP2 file
JPEG_2000 = b'\xff\x4f\xff\x51'  # start of the codestream, then its shape


def encoded_shape(frame: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, colours) of a JPEG, JPEG-LS or JPEG 2000 picture; None for others."""
    try:
        if frame.startswith(JPEG):
            return _jpeg_shape(frame)
        start = frame.find(JPEG_2000, 0, MAX_BOXES)
        if start < 0:
            return None
        columns, rows, left, top = struct.unpack_from('>4I', frame, start + 8)
        (colours,) = struct.unpack_from('>H', frame, start + 40)
        return rows - top, columns - left, colours
    except struct.error:
        return None


def refuse_damaged(frame: bytes, rows: int, columns: int) -> None:
    """Raises ValueError unless this is such a picture, of one colour and this size, to its end."""
    if encoded_shape(frame) != (rows, columns, 1):
        raise ValueError('a picture of another size than Rows x Columns')
    if not frame.rstrip(b'\0').endswith(END):  # zeros are padding
        raise ValueError('a truncated picture')


def _jpeg_shape(frame: bytes) -> tuple[int, int, int] | None:
    position = len(JPEG)
    while True:
        prefix, marker, length = struct.unpack_from('>BBH', frame, position)
        if prefix != 0xFF or length < 2:
            return None
        if marker in JPEG_FRAMES:
            rows, columns, colours = struct.unpack_from('>HHB', frame, position + 5)
            return rows, columns, colours
        position += 2 + length
