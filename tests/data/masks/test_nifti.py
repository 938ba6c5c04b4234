import contextlib

import nibabel
import numpy as np
import pytest
from mask_files import ORIGIN, PATTERN, affine_of, save_nifti, series_of

from bodycomp_jax.data.masks.labels import UnexplainedLabelError, label_map
from bodycomp_jax.data.masks.nifti import open_class_files, open_nifti
from bodycomp_jax.errors import InputError

TISSUES = label_map(muscle=['1'], subcutaneous_fat=['2'], visceral_fat=['3'])
TABLE = b'<Label Key="1"><![CDATA[liver]]></Label><Label Key="3" Red="0"> spleen </Label>'


def read_classes(folder, tissues):
    return open_class_files(str(folder), sorted(map(str, folder.iterdir())), tissues)


def labels_of(planes):
    return np.stack([planes.read(k) for k in range(len(planes))])


@pytest.mark.parametrize('codes', ['LPS', 'RAS', 'SPL', 'PIR', 'ASL'])
@pytest.mark.parametrize('name', ['a.nii', 'a.nii.gz'])
def test_planes_are_axial_in_any_order_of_the_axes(tmp_path, name, codes):
    save_nifti(tmp_path / name, PATTERN, codes=codes)
    planes = open_nifti(str(tmp_path / name), TISSUES, {})
    assert [planes.plane_of(each.grid) for each in series_of().slices] == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(labels_of(planes), PATTERN)


@pytest.mark.parametrize('dtype', [np.int8, '>i2', np.int32, np.uint16, np.float32, '>f8'])
def test_labels_are_read_from_any_type(tmp_path, dtype):
    labels = np.minimum(PATTERN, 3)
    header = nibabel.Nifti1Header(endianness='>' if str(dtype)[0] == '>' else '<')
    save_nifti(tmp_path / 'a.nii', labels.astype(dtype), header=header)
    np.testing.assert_array_equal(
        labels_of(open_nifti(str(tmp_path / 'a.nii'), TISSUES, {})), labels
    )


def test_scaled_labels_are_rounded(tmp_path):
    image = nibabel.Nifti1Image(np.full((2, 2, 2), 100, np.uint8), np.eye(4))
    image.header.set_slope_inter(0.03, 0)
    image.to_filename(tmp_path / 'a.nii')
    assert (labels_of(open_nifti(str(tmp_path / 'a.nii'), TISSUES, {})) == 3).all()


def test_a_table_of_labels_in_the_header_names_them(tmp_path):
    image = nibabel.Nifti1Image(PATTERN % 4, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, TABLE))
    image.to_filename(tmp_path / 'a.nii')
    with pytest.raises(UnexplainedLabelError, match=r'label 1 \(liver\), 2, 3 \(spleen\) means'):
        labels_of(open_nifti(str(tmp_path / 'a.nii'), label_map(), {}))
    named = label_map(muscle=['liver'], visceral_fat=['spleen'], background=['2'])
    assert set(np.unique(labels_of(open_nifti(str(tmp_path / 'a.nii'), named, {})))) == {0, 1, 3}


def test_names_from_elsewhere_name_labels(tmp_path):
    save_nifti(tmp_path / 'a.nii', PATTERN % 2)
    planes = open_nifti(str(tmp_path / 'a.nii'), label_map(), {1: ('visceral_fat',)})
    assert labels_of(planes).max() == 3


def test_a_file_for_each_class(tmp_path):
    for label, name in enumerate(('skeletal_muscle', 'subcutaneous_fat', 'torso_fat'), 1):
        save_nifti(tmp_path / f'{name}.nii.gz', (label == PATTERN) * np.uint8(label * 50))
    (tmp_path / 'intermuscular_fat.nii.gz').write_bytes(b'never read')
    planes = read_classes(tmp_path, label_map('totalsegmentator'))
    np.testing.assert_array_equal(labels_of(planes), np.where(PATTERN == 255, 0, PATTERN))


def test_classes_that_nothing_explains_are_refused_even_if_a_number_is_given(tmp_path):
    save_nifti(tmp_path / 'liver.nii', PATTERN % 2)
    with pytest.raises(UnexplainedLabelError, match=r'liver\.nii: .* label liver means'):
        read_classes(tmp_path, TISSUES)


def test_a_folder_without_tissues_is_refused(tmp_path):
    save_nifti(tmp_path / 'liver.nii', PATTERN % 2)
    with pytest.raises(InputError, match='all its classes are background'):
        read_classes(tmp_path, label_map(background=['others']))


def test_classes_on_different_grids_are_refused(tmp_path):
    save_nifti(tmp_path / 'fat.nii', np.zeros((6, 9, 11), np.uint8))
    save_nifti(tmp_path / 'muscle.nii', np.zeros((6, 9, 10), np.uint8))
    names = label_map(muscle=['muscle'], visceral_fat=['fat'])
    with pytest.raises(InputError, match=r'muscle\.nii: .* 9 x 10 pixels .*fat\.nii has .* 9 x 11'):
        read_classes(tmp_path, names)
    moved = affine_of(origin=(-19.9, *ORIGIN[1:]))
    save_nifti(tmp_path / 'muscle.nii', np.zeros((6, 9, 11), np.uint8), affine=moved)
    with pytest.raises(
        InputError, match=r'muscle\.nii: .*\(x -19\.90 .*fat\.nii has .*\(x -20\.00 '
    ):
        read_classes(tmp_path, names)


def test_classes_that_overlap_are_refused(tmp_path):
    for name in ('visceral_fat', 'muscle'):
        save_nifti(tmp_path / f'{name}.nii', np.ones((1, 2, 3), np.uint8))
    with pytest.raises(InputError, match=r'visceral_fat\.nii: 6 of its pixels .* another class'):
        labels_of(read_classes(tmp_path, label_map()))


def test_a_file_of_several_labels_in_a_folder_of_classes_is_refused(tmp_path):
    save_nifti(tmp_path / 'muscle.nii', PATTERN)
    with pytest.raises(InputError, match=r'muscle\.nii: has the values 1, 2, 3, 255'):
        labels_of(read_classes(tmp_path, label_map()))


def test_probabilities_are_refused(tmp_path):
    save_nifti(tmp_path / 'a.nii', np.full((2, 2, 2), 0.25, np.float32))
    with pytest.raises(InputError, match=r'a\.nii: has the value 0\.25, but labels are whole'):
        labels_of(open_nifti(str(tmp_path / 'a.nii'), TISSUES, {}))


@pytest.mark.parametrize('kept', [0, 20, 300, -20])
@pytest.mark.parametrize('name', ['a.nii', 'a.nii.gz'])
def test_truncated_files_are_refused(tmp_path, name, kept):
    path = tmp_path / name
    save_nifti(path, np.random.default_rng(0).integers(0, 4, (40, 40, 40), np.uint8))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=f'{name}: '):
        labels_of(open_nifti(str(path), TISSUES, {}))


def test_damaged_headers_are_refused_or_read(tmp_path):
    save_nifti(tmp_path / 'a.nii', PATTERN)
    content, rng = (tmp_path / 'a.nii').read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(0, 352, 4):
            damaged[place] = rng.integers(256)
        (tmp_path / 'a.nii').write_bytes(damaged)
        with contextlib.suppress(InputError):
            labels_of(open_nifti(str(tmp_path / 'a.nii'), label_map(background=['others']), {}))
