"""HU of the slices in DICOM files."""

import dataclasses
from typing import Any, BinaryIO, Literal

import numpy as np
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, RLELossless

from bodycomp_jax.data.scans import dicom_file
from bodycomp_jax.data.scans.codestream import refuse_damaged
from bodycomp_jax.data.scans.hu import to_hu
from bodycomp_jax.data.scans.series import Slice
from bodycomp_jax.data.scans.tags import Elements, shown, tag_of, tags_of
from bodycomp_jax.errors import InputError

PIXEL_TAGS = tags_of((
    'SamplesPerPixel', 'PhotometricInterpretation', 'NumberOfFrames', 'Rows', 'Columns',
    'BitsAllocated', 'BitsStored', 'PixelRepresentation', 'PixelPaddingValue',
    'PixelPaddingRangeLimit', 'ExtendedOffsetTable', 'ExtendedOffsetTableLengths',
))  # fmt: skip
PIXEL_DATA = tag_of('PixelData')


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Where the pixels of a file begin, how they are encoded, and which values are padding."""

    start: int
    syntax: UID
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
            layout, rest = self._layouts.get(of.path), stream
            if layout is None:
                layout, rest = _read_layout(stream)
            if layout.options['number_of_frames'] > 1 and rest is stream:
                self._layouts[of.path] = layout
            stored = _decoded(rest, layout, of.frame)
        padding = None
        if layout.padding:
            padding = (stored >= min(layout.padding)) & (stored <= max(layout.padding))
        return to_hu(stored, of.slope, of.intercept, padding)


def _read_layout(stream: BinaryIO) -> tuple[_Layout, BinaryIO]:
    """The layout, and the stream that `start` refers to, which differs for deflated files."""
    contents = dicom_file.parse(stream, PIXEL_TAGS, dicom_file.LAST_BEFORE_PIXELS)
    elements, syntax = contents.elements, contents.syntax
    head = contents.rest.read(8 if contents.implicit else 12)
    order: Literal['little', 'big'] = 'big' if syntax == ExplicitVRBigEndian else 'little'
    if int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order) != PIXEL_DATA:
        raise InputError('no PixelData (7FE0,0010); copy the file again')
    bits = elements.integer('BitsAllocated')
    options = {
        'transfer_syntax_uid': syntax,
        'pixel_keyword': 'PixelData',
        'pixel_vr': 'OW' if contents.implicit else head[4:6].decode('latin-1'),
        'samples_per_pixel': elements.integer('SamplesPerPixel') or 1,
        'photometric_interpretation': elements.text('PhotometricInterpretation') or 'MONOCHROME2',
        'number_of_frames': int(elements.number('NumberOfFrames') or 1),
        'rows': elements.integer('Rows'),
        'columns': elements.integer('Columns'),
        'bits_allocated': bits,
        'bits_stored': elements.integer('BitsStored') or bits,
        'pixel_representation': elements.integer('PixelRepresentation') or 0,
        'view_only': True,
    }
    offsets = tuple(map(elements.value, ('ExtendedOffsetTable', 'ExtendedOffsetTableLengths')))
    if all(offsets):
        options['extended_offsets'] = offsets
    return _Layout(contents.rest.tell(), syntax, options, _padding(elements)), contents.rest


def _padding(elements: Elements) -> tuple[int, ...]:
    """The ends of the range of padding, with the sign of the pixels whatever their type."""
    ends = (elements.integer('PixelPaddingValue'), elements.integer('PixelPaddingRangeLimit'))
    if ends[0] is None:
        return ()
    signed = elements.integer('PixelRepresentation') == 1
    numbers = np.array([end for end in ends if end is not None], np.uint16)
    return tuple(numbers.astype(np.int16 if signed else np.uint16).tolist())


def _decoded(stream: BinaryIO, layout: _Layout, frame: int) -> np.ndarray:
    options = layout.options
    stream.seek(layout.start)
    try:
        if layout.syntax.is_encapsulated and layout.syntax != RLELossless:
            offsets = options.get('extended_offsets')
            frames = options['number_of_frames']
            picture = get_frame(stream, frame, number_of_frames=frames, extended_offsets=offsets)
            refuse_damaged(picture, options['rows'], options['columns'])
            stream.seek(layout.start)
        decoder = get_decoder(layout.syntax)
        return decoder.as_array(stream, index=frame, raw=True, **layout.options)[0]
    except Exception as error:  # the decoders raise almost anything
        raise InputError(
            f'pixels that cannot be decoded ({shown(str(error))}); copy the file again'
        ) from error
