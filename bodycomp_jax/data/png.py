"""8-bit greyscale PNG files: safe reading and writing."""

import os
import struct

import numpy as np
from PIL import Image

from bodycomp_jax import ct
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.file_formats import START_BYTES, other_format
from bodycomp_jax.runtime.files import explained, open_regular_file

PNG_START = struct.Struct('>8s4x4sIIBB')  # signature, IHDR, width, height, bit depth, colour type
SIGNATURE = b'\x89PNG\r\n\x1a\n'
GREY = {(8, 0): 'L'}  # (bit depth, colour type): mode of Pillow
LABELS = {**GREY, (16, 0): 'I;16', **{(depth, 3): 'P' for depth in (1, 2, 4, 8)}}
EXPORT = 'export this slice as 8-bit greyscale PNG'


def read_png(path: str | os.PathLike[str]) -> np.ndarray:
    """The pixels of an 8-bit greyscale PNG file: `[H, W]` uint8.

    Raises InputError for any other file; checks the header before any decompression.
    """
    wanted = (
        '8-bit greyscale; map HU with the window 40/400 to 0..255 and export as 8-bit greyscale PNG'
    )
    return _read(path, GREY, wanted)


def read_label_png(path: str | os.PathLike[str]) -> np.ndarray:
    """The grey values, or the indices into the palette, of a PNG file: `[H, W]` uint8 or uint16.

    Errors as `read_png`.
    """
    wanted = '8 or 16-bit greyscale or a palette, in which labels are numbers and not colours'
    return _read(path, LABELS, wanted)


def write_png(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes `[H, W]` grey values or `[H, W, 3]` colours, uint8."""
    Image.fromarray(image).save(path)


def _read(
    path: str | os.PathLike[str], modes: dict[tuple[int, int], str], wanted: str
) -> np.ndarray:
    """The pixels of a file of one of these modes."""
    try:
        with open(open_regular_file(path), 'rb') as file:
            size, kind = _size_and_kind(path, file.read(START_BYTES))
            if kind not in modes:
                raise InputError(
                    f'{path}: bit depth {kind[0]} and colour type {kind[1]}, expected {wanted}'
                )
            file.seek(0)
            with Image.open(file, formats=['PNG']) as image:
                if (image.mode, image.size) != (modes[kind], size):  # from a second header
                    raise InputError(f'{path}: corrupt PNG file; export this slice again')
                return np.asarray(image)
    except InputError:
        raise
    except Exception as error:  # Pillow raises errors of many kinds for corrupt files
        if isinstance(error, OSError) and error.errno:  # of the disk, not of the content
            raise InputError(f'{path}: cannot be read ({explained(error, "")})') from error
        raise InputError(f'{path}: corrupt PNG file ({error}); export this slice again') from error


def _size_and_kind(
    path: str | os.PathLike[str], start: bytes
) -> tuple[tuple[int, int], tuple[int, int]]:
    """((width, height), (bit depth, colour type)) in the first bytes of a file."""
    if len(start) < PNG_START.size or start[:8] != SIGNATURE or start[12:16] != b'IHDR':
        other = None if start.startswith(SIGNATURE[:4]) else other_format(start, EXPORT)
        raise InputError(f'{path}: not a PNG file{f", but {other}" if other else f"; {EXPORT}"}')
    _, _, width, height, depth, colour = PNG_START.unpack_from(start)
    if not (0 < width <= ct.MAX_SIDE and 0 < height <= ct.MAX_SIDE):
        raise InputError(
            f'{path}: invalid size {width} x {height}: use 1 to {ct.MAX_SIDE} pixels of each'
        )
    return (width, height), (depth, colour)
