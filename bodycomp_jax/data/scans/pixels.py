"""HU of the slices in DICOM files."""

import dataclasses
from typing import Any, BinaryIO, Literal

import numpy as np
from pydicom.pixels import as_pixel_options, get_decoder

from bodycomp_jax.data.scans import dicom_file
from bodycomp_jax.data.scans.hu import as_int16, rescaled
from bodycomp_jax.data.scans.series import Slice
from bodycomp_jax.data.scans.tags import Elements, tag_of
from bodycomp_jax.errors import InputError

PIXEL_TAGS = [
    tag_of(keyword)
    for keyword in (
        'SamplesPerPixel', 'PhotometricInterpretation', 'PlanarConfiguration', 'NumberOfFrames',
        'Rows', 'Columns', 'BitsAllocated', 'BitsStored', 'PixelRepresentation',
        'PixelPaddingValue', 'PixelPaddingRangeLimit', 'ExtendedOffsetTable',
        'ExtendedOffsetTableLengths',
    )
]  # fmt: skip
PIXEL_DATA = tag_of('PixelData')


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Where the pixels of a file begin, how they are encoded, and which values are padding."""

    start: int
    syntax: str
    options: dict[str, Any]
    padding: tuple[int, ...]


class DicomPixels:
    """Reads slices; remembers the layout of files with several, whose headers are long."""

    def __init__(self) -> None:
        self._layouts: dict[str, _Layout] = {}

    def __call__(self, of: Slice) -> np.ndarray:
        """`[rows, columns]` int16 HU as the file has them.

        Raises InputError, without the path, if the file cannot be read or decoded.
        """
        with dicom_file.open_whole(of.path) as stream:
            layout = self._layouts.get(of.path) or _read_layout(stream)
            if layout.options['number_of_frames'] > 1:
                self._layouts[of.path] = layout
            stored = _decoded(stream, layout, of.frame)
        padding = None
        if layout.padding:
            limits = np.array(layout.padding, np.uint16).astype(stored.dtype)  # wraps if signed
            padding = (stored >= limits.min()) & (stored <= limits.max())
        return as_int16(rescaled(stored, of.slope, of.intercept), padding)


def _read_layout(stream: BinaryIO) -> _Layout:
    dataset = dicom_file.parse(stream, PIXEL_TAGS, dicom_file.PIXELS - 1)
    elements = Elements(dataset)
    syntax = dicom_file.transfer_syntax(dataset)
    order: Literal['little', 'big'] = 'little' if syntax.is_little_endian else 'big'
    head = stream.read(8 if syntax.is_implicit_VR else 12)
    tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
    if tag != PIXEL_DATA:
        raise InputError('no PixelData (7FE0,0010); copy the file again')
    values = (elements.integer('PixelPaddingValue'), elements.integer('PixelPaddingRangeLimit'))
    try:
        options = as_pixel_options(
            dataset,
            transfer_syntax_uid=syntax,
            view_only=True,
            pixel_keyword='PixelData',
            pixel_vr='OW' if syntax.is_implicit_VR else head[4:6].decode('latin-1'),
        )
    except Exception as error:  # pydicom raises almost anything
        raise InputError(f'pixels that cannot be decoded ({error}); copy the file again') from error
    padding = () if values[0] is None else tuple(v for v in values if v is not None)
    return _Layout(stream.tell(), syntax, options, padding)


def _decoded(stream: BinaryIO, layout: _Layout, frame: int) -> np.ndarray:
    stream.seek(layout.start)
    try:
        decoder = get_decoder(layout.syntax)
        return decoder.as_array(stream, index=frame, raw=True, **layout.options)[0]
    except Exception as error:  # the decoders raise almost anything
        raise InputError(f'pixels that cannot be decoded ({error}); copy the file again') from error
