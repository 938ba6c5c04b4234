import struct

import pydicom
import pytest
from helpers import SHARED_DATA, needs_shared_data
from pydicom.encaps import get_frame

from bodycomp_jax.data.scans.codestream import encoded_shape, refuse_damaged


@needs_shared_data
@pytest.mark.parametrize(
    'name', ['JPEG2000', 'JPEG2000LosslessOnly', 'JPEGLSLossless', 'JPEGLSLossy', 'JPEGProcess14',
             'JPEGProcess14SV1'],
)  # fmt: skip
def test_the_shape_of_real_pictures_is_read(name):
    dataset = pydicom.dcmread(SHARED_DATA / f'dicom/transfer_syntaxes/{name}.dcm')
    picture = get_frame(dataset.PixelData, 0, number_of_frames=1)
    assert encoded_shape(picture) == (512, 512, 1)
    assert encoded_shape(picture[:10]) is None
    refuse_damaged(picture + bytes(2), 512, 512)
    with pytest.raises(ValueError, match='a truncated picture'):
        refuse_damaged(picture[: len(picture) // 2], 512, 512)
    with pytest.raises(ValueError, match='another size than Rows x Columns'):
        refuse_damaged(picture, 512, 511)


def test_rows_columns_and_colours_are_told_apart():
    comment, frame = (
        struct.pack('>BBH2x', 0xFF, 0xFE, 4),
        struct.pack('>BBHBHHB', 0xFF, 0xC3, 11, 16, 6, 8, 3),
    )
    assert encoded_shape(b'\xff\xd8' + comment + frame) == (6, 8, 3)
    size = struct.pack('>4s2H8IH', b'\xff\x4f\xff\x51', 41, 0, 9, 8, 1, 2, 0, 0, 0, 0, 1)
    assert encoded_shape(size) == (6, 8, 1)
    assert encoded_shape(b'\0\0\0\x0cjP  \r\n\x87\n' + size) == (6, 8, 1)


@pytest.mark.parametrize('picture', [b'', b'\xff\xd8', b'\xff\xd8' + bytes(40), b'\x89PNG' * 20])
def test_other_bytes_have_no_shape(picture):
    assert encoded_shape(picture) is None
