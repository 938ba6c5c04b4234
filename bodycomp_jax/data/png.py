"""8-bit grey pictures: PNG files that may be anything, and the size that the network sees."""

import struct

import numpy as np
from PIL import Image

from bodycomp_jax.errors import InputError

SIDE = 256  # pixels, what the slice-selection network sees
MAX_SIDE = 8192  # pixels; more in a header is no CT slice but a decompression bomb
PNG_START = struct.Struct('>8s4x4sIIBB')  # signature, IHDR, width, height, bit depth, colour type
GREY_8_BIT = (8, 0)


def read_png(path):
    """The pixels of an 8-bit grey PNG file: `[H, W]` uint8.

    Raises InputError for any other file; nothing is decompressed before the header is sane.
    """
    try:
        with open(path, 'rb') as file:
            start = file.read(PNG_START.size)
            size = _sane_size(path, start)
            file.seek(0)
            with Image.open(file, formats=['PNG']) as image:
                if (image.mode, image.size) != ('L', size):  # there is a second header
                    raise InputError(f'{path}: not a sound PNG file; export it again')
                return np.asarray(image)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error}); export this slice again') from error
    except Exception as error:  # broken files make Pillow raise errors of many kinds
        raise InputError(f'{path}: not a sound PNG file ({error}); export it again') from error


def write_png(path, image):
    """Writes `[H, W]` uint8."""
    Image.fromarray(image).save(path)


def resized(image):
    """`[H, W]` uint8 as `[SIDE, SIDE]`: the mean over areas where it shrinks, else linear."""
    H, W = image.shape
    picture = Image.fromarray(image)
    for size, length in (((W, SIDE), H), ((SIDE, SIDE), W)):
        method = Image.Resampling.BOX if length >= SIDE else Image.Resampling.BILINEAR
        picture = picture.resize(size, method)
    return np.asarray(picture)


def _sane_size(path, start):
    """(width, height) that the start of a file says. Raises InputError."""
    if len(start) < PNG_START.size or start[:8] != b'\x89PNG\r\n\x1a\n' or start[12:16] != b'IHDR':
        raise InputError(f'{path}: not a PNG file; export this slice as 8-bit grey PNG')
    _, _, width, height, *kind = PNG_START.unpack(start)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise InputError(
            f'{path}: a picture of {width} x {height} pixels is no CT slice; use at most '
            f'{MAX_SIDE} x {MAX_SIDE}'
        )
    if tuple(kind) != GREY_8_BIT:
        raise InputError(
            f'{path}: not an 8-bit grey picture (bit depth {kind[0]}, colour type {kind[1]}); map '
            'HU by the window 40/400 to 0..255 and save it as 8-bit grey PNG'
        )
    return width, height
