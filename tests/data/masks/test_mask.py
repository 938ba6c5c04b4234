import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data
from mask_files import (
    ORIGIN,
    PATTERN,
    affine_of,
    labels_of,
    save_nifti,
    save_segmentation,
    series_of,
)
from scan_files import write_slice

from bodycomp_jax.data.masks.labels import label_map
from bodycomp_jax.data.masks.mask import open_mask
from bodycomp_jax.data.png import write_png
from bodycomp_jax.data.scans import find_series
from bodycomp_jax.errors import InputError

TISSUES = label_map(muscle=['1', 'm'], subcutaneous_fat=['2', 's'], visceral_fat=['3', 'v'])
LABELS = np.where(PATTERN == 255, 0, PATTERN)


def save_class_files(folder):
    for label, name in enumerate('msv', 1):
        save_nifti(folder / f'{name}.nii', np.uint8(label == LABELS))


def save_label_images(folder):
    for i, labels in enumerate(LABELS):
        write_png(folder / f'{i}.png', labels)


def save_segments(path):
    save_segmentation(path, {name: label == LABELS for label, name in enumerate('msv', 1)})


def save_segments_in(folder):
    save_segments(folder / 'seg')


@pytest.mark.parametrize(
    ('save', 'name'),
    [
        (lambda path: save_nifti(path, LABELS), 'a.nii'),
        (lambda path: save_nifti(path, LABELS), 'A.NII.GZ'),
        (save_class_files, ''),
        (save_segments, 'a'),
        (save_label_images, ''),
    ],
)
@pytest.mark.parametrize('in_folder', [False, True])
def test_masks_of_every_kind_give_the_same_labels(tmp_path, save, name, in_folder):
    save(tmp_path / name)
    (tmp_path / '._a.nii').write_bytes(b'of another system')
    is_segmentation = save is save_segments
    path = tmp_path if in_folder and (is_segmentation or not name) else tmp_path / name
    np.testing.assert_array_equal(labels_of(open_mask(path, series_of(), TISSUES)), LABELS)


@pytest.mark.parametrize(('save', 'other'), [
    (save_class_files, 'preview_total.png'), (save_class_files, 'statistics.json'),
    (save_segments_in, 'README.txt'), (save_label_images, '0.dcm'),
])  # fmt: skip
def test_other_files_in_the_folder_of_a_mask_do_not_count(tmp_path, save, other):
    save(tmp_path)
    write_slice(tmp_path / other) if other == '0.dcm' else (tmp_path / other).write_text('hello')
    np.testing.assert_array_equal(labels_of(open_mask(tmp_path, series_of(), TISSUES)), LABELS)


@pytest.mark.parametrize(('one', 'other', 'message'), [
    (save_class_files, save_segments_in, r'both NIfTI files \(m\.nii\) and a DICOM seg.*\(seg\)'),
    (save_label_images, save_segments_in, r'both label images \(0\.png\) and a DICOM .*\(seg\)'),
    (save_class_files, lambda folder: np.save(folder / '0.npy', LABELS[0]),
     r'both NIfTI files \(m\.nii\) and label images \(0\.npy\)'),
])  # fmt: skip
def test_two_kinds_of_masks_in_a_folder_are_refused(tmp_path, one, other, message):
    one(tmp_path)
    other(tmp_path)
    with pytest.raises(InputError, match=message):
        open_mask(tmp_path, series_of(), TISSUES)


def test_another_grid_is_resampled_only_if_asked_to(tmp_path):
    affine = affine_of(origin=(ORIGIN[0], ORIGIN[1] + 0.2, ORIGIN[2]))
    save_nifti(tmp_path / 'a.nii', LABELS, affine=affine)
    with pytest.raises(InputError, match=r'a\.nii: 6 slices .*: the grids differ'):
        open_mask(tmp_path / 'a.nii', series_of(), TISSUES)
    mask = open_mask(tmp_path / 'a.nii', series_of(), TISSUES, resample=True)
    np.testing.assert_array_equal(labels_of(mask), LABELS)


def test_names_from_elsewhere_explain_labels(tmp_path):
    save_nifti(tmp_path / 'a.nii', LABELS)
    names = {n: (name,) for n, name in enumerate(('visceral fat', 'muscle', 'background'), 1)}
    mask = open_mask(tmp_path / 'a.nii', series_of(), label_map(), names=names)
    np.testing.assert_array_equal(labels_of(mask), np.array([0, 3, 1, 0])[LABELS])


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (None, 'no such file or folder'),
        ((), '0 files, expected a NIfTI file'),
        (('a', 'b'), '2 files, expected a NIfTI file'),
        (('a',), 'a: not a DICOM file, but a ZIP archive'),
    ],
)
def test_other_paths_are_refused(tmp_path, names, message):
    folder = tmp_path / 'mask'
    if names is not None:
        folder.mkdir()
    for name in names or ():
        (folder / name).write_bytes(b'PK\x03\x04' + bytes(200))
    with pytest.raises(InputError, match=f'mask.*{message}'):
        open_mask(folder, series_of(), TISSUES)


@needs_shared_data
def test_real_tissues_are_where_their_hu_are():
    series = find_series(SHARED_DATA / 'totalsegmentator/ct_abdomen.nii.gz').series[0]
    folder = SHARED_DATA / 'totalsegmentator/tissue_types'
    labels = labels_of(open_mask(folder, series, label_map('totalsegmentator')), len(series))
    assert [int((labels == label).sum()) for label in (1, 2, 3)] == [35293, 35357, 33969]
    hu = np.stack([series.hu(i) for i in range(len(series))])
    medians = [np.median(hu[labels == label]) for label in (1, 2, 3)]
    assert medians[0] > 0
    assert max(medians[1:]) < -85


@needs_shared_data
def test_a_real_mask_in_nifti_lies_on_its_dicom_slices():
    """The liver is label 5."""
    series = find_series(SHARED_DATA / 'totalsegmentator/ct_dicom').series[0]
    tissues = label_map(muscle=['liver'], background=['others'])
    mask = open_mask(SHARED_DATA / 'totalsegmentator/ct_dicom_total.nii.gz', series, tissues)
    largest = max(range(len(series)), key=lambda i: (mask.labels(i) == 1).sum())
    assert 40 < np.median(series.hu(largest)[mask.labels(largest) == 1]) < 140
