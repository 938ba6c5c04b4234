import gzip

import nibabel
import numpy as np
import pytest
from mask_files import ORIGIN, PATTERN, SPACING, affine_of, save_nifti, series_of

from bodycomp_jax.data.masks.labels import UnexplainedLabelError, label_map
from bodycomp_jax.data.masks.nifti import read_class_files, read_nifti
from bodycomp_jax.errors import InputError

TISSUES = label_map(muscle=['1'], subcutaneous_fat=['2'], visceral_fat=['3'])
TABLE = b'<Label Key="1"><![CDATA[liver]]></Label><Label Key="3" Red="0"> spleen </Label>'


@pytest.mark.parametrize('codes', ['LPS', 'RAS', 'SPL', 'PIR', 'ASL'])
@pytest.mark.parametrize('name', ['a.nii', 'a.nii.gz'])
def test_planes_are_axial_in_any_order_of_the_axes(tmp_path, name, codes):
    save_nifti(tmp_path / name, PATTERN, codes=codes)
    volume = read_nifti(str(tmp_path / name), TISSUES, {})
    np.testing.assert_allclose(volume.positions[:, 2], ORIGIN[2] + SPACING[0] * np.arange(6))
    assert volume.gap == pytest.approx(SPACING[0])
    labels = [volume.on(each.grid) for each in series_of().slices]
    np.testing.assert_array_equal(labels, PATTERN)


@pytest.mark.parametrize('dtype', [np.int8, '>i2', np.int32, np.uint16, np.float32, '>f8'])
def test_labels_are_read_from_any_type(tmp_path, dtype):
    labels = np.minimum(PATTERN, 3)
    header = nibabel.Nifti1Header(endianness='>' if str(dtype)[0] == '>' else '<')
    save_nifti(tmp_path / 'a.nii', labels.astype(dtype), header=header)
    volume = read_nifti(str(tmp_path / 'a.nii'), TISSUES, {})
    np.testing.assert_array_equal([volume.on(s.grid) for s in series_of().slices], labels)


def test_scaled_labels_are_rounded(tmp_path):
    image = nibabel.Nifti1Image(np.full((2, 2, 2), 100, np.uint8), np.eye(4))
    image.header.set_slope_inter(0.03, 0)
    image.to_filename(tmp_path / 'a.nii')
    assert (read_nifti(str(tmp_path / 'a.nii'), TISSUES, {}).labels == 3).all()


def test_a_table_of_labels_in_the_header_names_them(tmp_path):
    image = nibabel.Nifti1Image(PATTERN % 4, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, TABLE))
    image.to_filename(tmp_path / 'a.nii')
    with pytest.raises(UnexplainedLabelError, match=r'label 1 \(liver\), 2, 3 \(spleen\) means'):
        read_nifti(str(tmp_path / 'a.nii'), label_map(), {})
    named = label_map(muscle=['liver'], visceral_fat=['spleen'], background=['2'])
    assert set(np.unique(read_nifti(str(tmp_path / 'a.nii'), named, {}).labels)) == {0, 1, 3}


def test_names_from_elsewhere_name_labels(tmp_path):
    save_nifti(tmp_path / 'a.nii', PATTERN % 2)
    volume = read_nifti(str(tmp_path / 'a.nii'), label_map(), {1: ('visceral_fat',)})
    assert volume.labels.max() == 3


def test_a_file_for_each_class(tmp_path):
    for label, name in enumerate(('skeletal_muscle', 'subcutaneous_fat', 'torso_fat'), 1):
        save_nifti(tmp_path / f'{name}.nii.gz', (PATTERN == label) * np.uint8(label * 50))
    (tmp_path / 'intermuscular_fat.nii.gz').write_bytes(b'never read')
    volume = read_class_files(str(tmp_path), label_map('totalsegmentator'))
    labels = [volume.on(each.grid) for each in series_of().slices]
    np.testing.assert_array_equal(labels, np.where(PATTERN == 255, 0, PATTERN))


def test_classes_that_nothing_explains_are_refused_even_if_a_number_is_given(tmp_path):
    save_nifti(tmp_path / 'liver.nii', PATTERN % 2)
    with pytest.raises(UnexplainedLabelError, match=r'liver\.nii: .* label liver means'):
        read_class_files(str(tmp_path), TISSUES)


def test_a_folder_without_tissues_is_refused(tmp_path):
    save_nifti(tmp_path / 'liver.nii', PATTERN % 2)
    with pytest.raises(InputError, match='all its classes are background'):
        read_class_files(str(tmp_path), label_map(background=['others']))


def test_classes_on_different_grids_are_refused(tmp_path):
    save_nifti(tmp_path / 'fat.nii', np.zeros((6, 9, 11), np.uint8))
    save_nifti(tmp_path / 'muscle.nii', np.zeros((6, 9, 10), np.uint8))
    names = label_map(muscle=['muscle'], visceral_fat=['fat'])
    with pytest.raises(InputError, match=r'muscle\.nii: shape \(10, 9, 6\) .*fat\.nii has \(11,'):
        read_class_files(str(tmp_path), names)
    moved = affine_of(origin=(-19.9, *ORIGIN[1:]))
    save_nifti(tmp_path / 'muscle.nii', np.zeros((6, 9, 11), np.uint8), affine=moved)
    with pytest.raises(InputError, match=r'affine \(LPS\) .*-19\.9'):
        read_class_files(str(tmp_path), names)


def test_classes_that_overlap_are_refused(tmp_path):
    for name in ('visceral_fat', 'muscle'):
        save_nifti(tmp_path / f'{name}.nii', np.ones((1, 2, 3), np.uint8))
    with pytest.raises(InputError, match=r'visceral_fat\.nii: 6 of its pixels .* another class'):
        read_class_files(str(tmp_path), label_map())


def test_a_file_of_several_labels_in_a_folder_of_classes_is_refused(tmp_path):
    save_nifti(tmp_path / 'muscle.nii', PATTERN)
    with pytest.raises(InputError, match=r'muscle\.nii: has the values 1, 2, 3, 255'):
        read_class_files(str(tmp_path), label_map())


def test_probabilities_are_refused(tmp_path):
    save_nifti(tmp_path / 'a.nii', np.full((2, 2, 2), 0.25, np.float32))
    with pytest.raises(InputError, match=r'a\.nii: has the value 0\.25, but labels are whole'):
        read_nifti(str(tmp_path / 'a.nii'), TISSUES, {})


@pytest.mark.parametrize('shape', [(2, 2), (2, 2, 2, 3)])
def test_files_without_three_axes_are_refused(tmp_path, shape):
    nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)).to_filename(tmp_path / 'a.nii')
    with pytest.raises(InputError, match=r'a\.nii: uint8 of shape .*, expected numbers on three'):
        read_nifti(str(tmp_path / 'a.nii'), TISSUES, {})


def test_a_fourth_axis_of_length_1_is_dropped(tmp_path):
    image = nibabel.Nifti1Image(np.ones((2, 3, 4, 1), np.uint8), np.eye(4))
    image.to_filename(tmp_path / 'a.nii')
    assert read_nifti(str(tmp_path / 'a.nii'), TISSUES, {}).labels.shape == (4, 3, 2)


def test_a_header_larger_than_its_file_is_refused(tmp_path):
    """Before memory of that size is used."""
    header = nibabel.Nifti1Header()
    header.set_data_shape((1290, 1290, 1290))
    header.set_data_dtype(np.uint8)
    for name, content in (('a.nii', bytes(header.binaryblock)), ('a.nii.gz', None)):
        content = content or gzip.compress(bytes(header.binaryblock))
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf'{name}: .* bytes, but its header describes'):
            read_nifti(str(tmp_path / name), TISSUES, {})


@pytest.mark.parametrize('name', ['a.nii', 'a.nii.gz'])
@pytest.mark.parametrize('kept', [0, 20, 300, -20])
def test_truncated_files_are_refused(tmp_path, name, kept):
    path = tmp_path / name
    save_nifti(path, np.random.default_rng(0).integers(0, 4, (40, 40, 40), np.uint8))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=f'{name}: '):
        read_nifti(str(path), TISSUES, {})


def test_damaged_headers_are_refused_or_read(tmp_path):
    save_nifti(tmp_path / 'a.nii', PATTERN)
    content, rng = (tmp_path / 'a.nii').read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(0, 352, 4):
            damaged[place] = rng.integers(256)
        (tmp_path / 'a.nii').write_bytes(damaged)
        try:
            read_nifti(str(tmp_path / 'a.nii'), label_map(background=['others']), {})
        except InputError as error:
            assert 'a.nii: ' in str(error)


def test_a_matrix_that_is_no_position_is_refused(tmp_path):
    save_nifti(tmp_path / 'a.nii', PATTERN)
    content = bytearray((tmp_path / 'a.nii').read_bytes())
    content[254:256] = (1).to_bytes(2, 'little')  # sform_code
    content[280:328] = bytes(48)
    (tmp_path / 'a.nii').write_bytes(content)
    with pytest.raises(InputError, match=r'a\.nii: its affine matrix is no position'):
        read_nifti(str(tmp_path / 'a.nii'), TISSUES, {})
