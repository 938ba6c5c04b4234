import nibabel
import numpy as np
import pytest

from bodycomp_jax.data.scans.nifti_header import HEADER_BYTES, read_layout
from bodycomp_jax.errors import InputError


def start(kind=nibabel.Nifti1Header, endianness='<', **fields):
    """The first bytes of a file of 4 x 5 x 3 voxels of int16, 2 mm apart."""
    header = kind(endianness=endianness)
    header.set_data_shape((4, 5, 3))
    header.set_data_dtype(np.int16)
    header.set_sform(np.diag((2, 2, 2, 1)), code=1)
    for field, value in ({'vox_offset': len(header.binaryblock) + 4} | fields).items():
        header[field] = value
    return header.binaryblock.ljust(HEADER_BYTES, b'\0')


@pytest.mark.parametrize('kind', [nibabel.Nifti1Header, nibabel.Nifti2Header])
@pytest.mark.parametrize('endianness', ['<', '>'])
def test_voxels_are_described_with_their_place_in_the_patient(kind, endianness):
    layout = read_layout(start(kind, endianness))
    assert layout.shape == (4, 5, 3)
    assert layout.dtype == np.dtype(f'{endianness}i2')
    assert layout.start in (352, 544)
    assert (layout.slope, layout.intercept) == (1, 0)
    np.testing.assert_array_equal(layout.affine, np.diag((-2, -2, 2, 1)))


@pytest.mark.parametrize(('qfac', 'sign'), [(0, 1), (1, 1), (-1, -1)])
def test_the_third_axis_of_a_quaternion_has_the_sign_in_pixdim(qfac, sign):
    pixdim = (qfac, 2, 2, 2, 1, 1, 1, 1)
    layout = read_layout(start(sform_code=0, qform_code=1, pixdim=pixdim))
    np.testing.assert_allclose(layout.affine, np.diag((-2, -2, 2 * sign, 1)))


def test_values_are_scaled():
    layout = read_layout(start(scl_slope=2, scl_inter=-1024))
    assert (layout.slope, layout.intercept) == (2, -1024)


@pytest.mark.parametrize(
    ('dim', 'shape'),
    [
        ((2, 4, 5, 1, 1, 1, 1, 1), (4, 5, 1)),
        ((4, 4, 5, 3, 1, 1, 1, 1), (4, 5, 3)),
    ],
)
def test_there_are_three_axes(dim, shape):
    assert read_layout(start(dim=dim)).shape == shape


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'dim': (4, 4, 5, 3, 2, 1, 1, 1)}, '4 x 5 x 3 x 2 voxels; expected three'),
        ({'dim': (3, 4, 9000, 3, 1, 1, 1, 1)}, '4 x 9000 x 3 voxels; expected .* 1 to 8192'),
        ({'dim': (3, 4, -5, 3, 1, 1, 1, 1)}, '4 x -5 x 3 voxels'),
        ({'datatype': 32}, 'voxels are complex64; expected whole numbers or floats'),
        ({'datatype': 128}, 'voxels are .* expected whole numbers or floats'),
        ({'datatype': -252}, 'not a readable NIfTI header'),
        ({'sform_code': 0}, 'sform_code and qform_code are 0: orientation and position'),
        ({'xyzt_units': 1}, 'its affine is in meter; expected mm'),
        ({'vox_offset': 0}, 'voxels begin at byte 0, within the header'),
        ({'srow_x': (np.nan, 0, 0, 0)}, 'its affine holds numbers that are not finite'),
    ],
)
def test_other_headers_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        read_layout(start(**fields))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'\x89PNG' + bytes(600), 'not a NIfTI file, but a PNG picture'),
        (b'', 'an empty file; copy it again'),
        (bytes(600), 'not a NIfTI file$'),
        (start()[:100], 'not a NIfTI file'),
        (b'\x5c\x01\0\0' + b'\xff' * 600, 'voxels|header'),
    ],
)
def test_other_files_are_refused(content, message):
    with pytest.raises(InputError, match=message):
        read_layout(content)
