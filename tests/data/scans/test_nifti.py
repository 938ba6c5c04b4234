import gzip
import itertools

import nibabel
import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data
from scan_files import write_nifti

from bodycomp_jax.data.scans import find_series, nifti
from bodycomp_jax.data.scans.hu import Span
from bodycomp_jax.data.scans.nifti import NiftiVolume, open_series
from bodycomp_jax.errors import InputError

HU = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 3), np.int16)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'image.nii'


def turned(order, signs):
    """An image that holds x + 10 y + 100 z (LPS, mm) of each voxel, and its affine (RAS)."""
    affine = np.zeros((4, 4))
    affine[order, range(3)] = np.array(signs) * (1, 2, 3)
    affine[:, 3] = (7, -8, 9, 1)
    indices = np.stack(np.meshgrid(*map(range, (4, 5, 3)), indexing='ij'), -1)
    places = indices @ affine[:3, :3].T + affine[:3, 3]
    return (places @ (-1, -10, 100)).astype(np.float32), affine


@pytest.mark.parametrize('order', list(itertools.permutations(range(3))))
@pytest.mark.parametrize('signs', list(itertools.product((-1, 1), repeat=3)))
def test_values_are_where_the_affine_says(path, order, signs):
    image, affine = turned(list(order), signs)
    write_nifti(path, image, affine)
    volume = NiftiVolume(str(path))
    z = [each.z for each in volume.slices]
    assert z == sorted(z)
    for each in (volume.slices[0], volume.slices[-1]):
        values = each.turn.apply(volume.stored(each))
        for row, column in ((0, 0), (each.grid.rows - 1, each.grid.columns - 1)):
            assert values[row, column] == pytest.approx(
                np.dot(each.grid.point(row, column), (1, 10, 100))
            )
        assert each.grid.row_direction[0] == each.grid.column_direction[1] == 1


@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz'])
@pytest.mark.parametrize('kind', [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_both_versions_are_read_compressed_or_not(tmp_path, suffix, kind):
    path = tmp_path / f'image{suffix}'
    nibabel.save(kind(HU, np.diag((-1, -1, 1, 1))), path)
    series = open_series(str(path))
    np.testing.assert_array_equal(np.stack(list(series.read(range(3))), -1), HU.swapaxes(0, 1))
    assert series.z.tolist() == [0, 1, 2]
    assert (series.uid, series.patient_id, series.prone) == ('', '', None)


def test_big_endian_files_are_read(path):
    little = nibabel.Nifti1Image(HU, np.eye(4))
    nibabel.save(nibabel.Nifti1Image(HU, np.eye(4), little.header.as_byteswapped('>')), path)
    assert path.read_bytes().startswith(b'\0\0\x01\x5c')
    assert open_series(str(path)).hu(0)[-1, -1] == HU[0, 0, 0]


def test_scaled_values_and_nan_become_hu(path):
    stored = (HU + 1000).astype(np.uint16)
    write_nifti(path, stored, scl_slope=1, scl_inter=-1000)
    assert open_series(str(path)).hu(0)[-1, -1] == HU[0, 0, 0]
    holes = HU.astype(np.float32)
    holes[0, 0, 0] = np.nan
    write_nifti(path, holes)
    assert open_series(str(path)).hu(0)[-1, -1] == -1024


def test_images_of_one_slice_and_trailing_axes_are_read(path):
    write_nifti(path, HU[:, :, 0])
    assert len(open_series(str(path))) == 1
    write_nifti(path, HU[..., None, None])
    assert len(open_series(str(path))) == 3


@pytest.mark.parametrize('degrees', [3, 4.9])
def test_axes_that_are_a_little_oblique_are_kept(path, degrees):
    write_nifti(path, HU, rotated(degrees))
    assert open_series(str(path)).tilt_degrees == pytest.approx(degrees)


def rotated(degrees):
    affine = np.eye(4)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine[1:3, 1:3] = [[c, -s], [s, c]]
    return affine


@pytest.mark.parametrize('degrees', [5.1, 45])
def test_oblique_axes_are_refused(path, degrees):
    write_nifti(path, HU, rotated(degrees))
    with pytest.raises(InputError, match=r'deviate by .* degrees .* at most 5 .*: resample it'):
        open_series(str(path))


def test_axes_without_a_length_are_refused(path):
    write_nifti(path, HU, srow_x=(0, 0, 0, 0))
    with pytest.raises(InputError, match='degrees'):
        open_series(str(path))


@pytest.mark.parametrize(
    'array',
    [
        np.abs(HU) % 4,
        np.abs(HU) * np.float32(0.01),
        HU * np.int32(100),
        np.full((3, 3, 3), np.nan, np.float32),
    ],
)
def test_masks_and_other_values_are_refused(path, array):
    write_nifti(path, array)
    with pytest.raises(InputError, match=r'values from .* do not look like HU'):
        open_series(str(path))


@pytest.mark.parametrize(('dtype', 'slope', 'intercept', 'is_read'), [
    (np.uint8, 1, 0, False), (np.uint16, 2, -40, False), (np.uint16, 1, -1024, True),
    (np.uint16, -1, 2000, True), (np.int8, 1, 0, True),
])  # fmt: skip
def test_what_its_type_cannot_hold_is_refused_unread(
    path, monkeypatch, dtype, slope, intercept, is_read
):
    write_nifti(path, np.zeros((4, 5, 3), dtype), scl_slope=slope, scl_inter=intercept)
    seen = []
    monkeypatch.setattr(NiftiVolume, 'span', lambda self: seen.append(self) or Span())
    with pytest.raises(InputError, match='do not look like HU'):
        open_series(str(path))
    assert bool(seen) == is_read


def test_padding_does_not_hide_that_an_image_was_not_rescaled(path):
    image = np.abs(HU)
    image[0] = -2000
    write_nifti(path, image)
    with pytest.raises(InputError, match='above -1024 they begin at'):
        open_series(str(path))


def test_values_below_all_hu_are_named_as_such(path):
    image = HU.copy()
    image[0] = -32768
    write_nifti(path, image)
    with pytest.raises(InputError, match=r'values from -32768 .*: HU are at least -11000'):
        open_series(str(path))


@pytest.mark.parametrize('order', [(0, 1, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz'])
def test_a_slice_is_read_alone_whatever_the_order_of_the_axes(tmp_path, monkeypatch, order, suffix):
    monkeypatch.setattr(nifti, 'COPY_BYTES', 100)  # a copy in several blocks
    path = tmp_path / f'image{suffix}'
    image, affine = turned(list(order), (1, 1, 1))
    write_nifti(path, image, affine)
    volume, read, pread = NiftiVolume(str(path)), [], nifti.os.pread
    expected = [volume.stored(each).copy() for each in volume.slices]
    monkeypatch.setattr(nifti.os, 'pread', lambda *a: read.append(a[1]) or pread(*a))
    for each, values in zip(volume.slices, expected, strict=True):
        stored = np.take(image, each.frame, order.index(2))
        np.testing.assert_array_equal(volume.stored(each), stored)
        np.testing.assert_array_equal(values, stored)
    assert set(read) == {stored.size * 4}


@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz'])
@pytest.mark.parametrize('kept', [0, 10, 200, 360, -20])
def test_truncated_files_are_refused(tmp_path, suffix, kept):
    path = tmp_path / f'image{suffix}'
    write_nifti(path, np.random.default_rng(0).integers(-1000, 1000, (40, 5, 3), np.int16))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError):
        open_series(str(path)).hu(0)


@pytest.mark.parametrize('compressed', [False, True])
def test_sizes_in_the_header_do_not_allocate_memory(tmp_path, compressed):
    path = tmp_path / 'image.nii'
    write_nifti(path, HU)
    content = bytearray(path.read_bytes())
    content[42:48] = np.array((8000, 8000, 8000), '<i2').tobytes()
    path.write_bytes(gzip.compress(content) if compressed else content)
    with pytest.raises(InputError, match=r'truncated: .* bytes, but its header requires 1,024,000'):
        open_series(str(path))


def test_damaged_compression_is_an_error(path):
    path.write_bytes(b'\x1f\x8b' + b'\xff' * 600)
    with pytest.raises(InputError, match='cannot be read'):
        open_series(str(path))


def test_the_checksum_of_a_compressed_file_is_checked(tmp_path):
    path = tmp_path / 'image.nii.gz'
    image = np.random.default_rng(0).integers(-1000, 1000, (64, 64, 40), np.int16)
    write_nifti(path, image)
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'cannot be read \(CRC .*copy it again'):
        open_series(str(path)).hu(0)
    content[-8] ^= 1
    path.write_bytes(content + b'bytes after the end')
    assert open_series(str(path)).hu(0).shape == (64, 64)


def test_an_image_without_values_says_so(tmp_path):
    path = tmp_path / 'image.nii'
    write_nifti(path, np.full(HU.shape, np.nan, np.float32))
    with pytest.raises(InputError, match='all are NaN'):
        open_series(str(path))


def test_a_full_temporary_folder_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    path = tmp_path / 'image.nii.gz'
    write_nifti(path, HU)
    series = open_series(str(path))

    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(nifti.tempfile, 'TemporaryFile', full)
    with pytest.raises(InputError, match=r'image\.nii\.gz: needs a copy .* set TMPDIR'):
        series.hu(0)


def test_names_come_from_the_contents(tmp_path):
    names = []
    for i, array in enumerate((HU, HU, HU[::-1])):
        path = tmp_path / f'patient_{i}.nii'
        write_nifti(path, array)
        names.append(open_series(str(path)).name)
    assert names[0] == names[1] != names[2]


@needs_shared_data
def test_a_dicom_series_equals_its_nifti_file_pixel_for_pixel():
    dicom, image = find_series(SHARED_DATA / 'dicom/uneven_series').series
    assert dicom.z.tolist() == [223.5, 285.5, 379.5]
    assert dicom.distances.tolist() == [62, 94]
    for i in range(3):
        np.testing.assert_array_equal(dicom.hu(i), image.hu(i))
    np.testing.assert_allclose(
        image.slices[0].grid.position, dicom.slices[0].grid.position, atol=1e-3
    )


@needs_shared_data
def test_axes_in_another_order_are_found():
    (crop,) = find_series(SHARED_DATA / 'vertebra_crop').series
    assert len(crop) == 47
    np.testing.assert_allclose(crop.z, -103.2 + 1.5 * np.arange(47), atol=1e-4)
    assert crop.hu(0).shape == (73, 73)


@needs_shared_data
def test_masks_are_told_from_images():
    found = find_series(SHARED_DATA / 'totalsegmentator')
    assert [len(series) for series in found.series] == [20, 30, 112]
    assert len(found.skipped) == 7
    assert all('do not look like HU' in str(each) for each in found.skipped)
