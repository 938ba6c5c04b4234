import dataclasses

import nibabel
import numpy as np
import pydicom
import pytest
from helpers import SHARED_DATA, needs_shared_data
from mask_files import ORIGIN, affine_of, save_nifti, save_segmentation, series_of

from bodycomp_jax.data.masks.vertebrae import level_map, read_vertebrae
from bodycomp_jax.data.scans import find_series
from bodycomp_jax.errors import InputError

SPACING = 2.0, 4.0, 4.0
SHAPE = 80, 20, 20
LEVELS = ('L2', 'L3', 'L4')
NUMBERS = {'L2': 30, 'L3': 29, 'L4': 28}  # of TotalSegmentator
FIRST = {'L4': 14, 'L3': 33, 'L2': 52}  # slice of the body, which has 15


def spine():
    """Three bodies of 30 mm with a process that hangs 16 mm further down."""
    labels = np.zeros(SHAPE, np.uint8)
    for level, first in FIRST.items():
        labels[first : first + 15, 3:10, 6:14] = NUMBERS[level]
        labels[first - 8 : first + 8, 11:14, 9:11] = NUMBERS[level]
        labels[first + 7, 10, 9:11] = NUMBERS[level]  # holds both together
    return labels


def z_of(index):
    return ORIGIN[2] + SPACING[0] * index


def read(folder, labels, levels=LEVELS, reference='middle', **options):
    save_nifti(folder / 'v.nii', labels, affine=affine_of(SPACING), **options)
    numbers = level_map('totalsegmentator')
    return read_vertebrae(folder / 'v.nii', series_of(SHAPE, SPACING), levels, numbers, reference)


def test_the_middle_is_the_mean_of_all_voxels(tmp_path):
    found = read(tmp_path, spine())
    for level in LEVELS:
        index = np.nonzero(spine() == NUMBERS[level])[0].mean()
        assert found.z[level] == pytest.approx(z_of(index), abs=1e-3)
    assert not found.rejected


def test_the_lower_end_is_that_of_the_body_and_not_of_the_process(tmp_path):
    found = read(tmp_path, spine(), reference='inferior')
    assert found.z == pytest.approx({level: z_of(FIRST[level] - 0.5) for level in LEVELS})


@pytest.mark.parametrize('codes', ['RAS', 'PIR', 'SAL'])
def test_the_order_of_the_axes_does_not_matter(tmp_path, codes):
    assert read(tmp_path, spine(), codes=codes).z == pytest.approx(read(tmp_path, spine()).z)


def test_a_few_stray_voxels_do_not_count(tmp_path):
    labels = spine()
    labels[70:72, 17:19, 2] = NUMBERS['L3']
    assert read(tmp_path, labels) == read(tmp_path, spine())


@pytest.mark.parametrize(
    ('part', 'label', 'reason'),
    [
        (np.s_[70:76, 15:18, 1:4], 29, 'L3 is in 2 pieces of 938, 54 voxels, expected one'),
        (np.s_[38:52], 0, 'is 10 mm high, expected 20 to 45 mm for its body'),
        (np.s_[48:57, 3:10, 6:14], 29, 'L3 is 48 mm high, expected 20 to 45 mm for its body'),
    ],
)
def test_what_is_no_vertebra_is_rejected(tmp_path, part, label, reason):
    labels = spine()
    labels[part] = label
    found = read(tmp_path, labels, ['L3', 'L4'])
    assert set(found.z) == {'L4'}
    assert reason in found.rejected['L3']


@pytest.mark.parametrize(('kept', 'cut'), [(slice(28, 80), 'L3'), (slice(0, 67), 'L2')])
def test_what_the_end_of_the_mask_cuts_is_rejected(tmp_path, kept, cut):
    labels = spine()[kept]
    affine = affine_of(SPACING, (*ORIGIN[:2], z_of(kept.start)))
    save_nifti(tmp_path / 'v.nii', labels, affine=affine)
    numbers = level_map('totalsegmentator')
    found = read_vertebrae(tmp_path / 'v.nii', series_of(SHAPE, SPACING), ['L2', 'L3'], numbers)
    assert found.rejected == {cut: f'{tmp_path}/v.nii: {cut} is cut by the end of the scan'}


@pytest.mark.parametrize(('first', 'cut', 'left'), [(28, 'L3', 'L2'), (7, 'L2', 'L3')])
def test_what_the_end_of_the_image_cuts_is_rejected(tmp_path, first, cut, left):
    """The mask is of a longer scan, on a finer grid."""
    save_nifti(tmp_path / 'v.nii', spine(), affine=affine_of(SPACING))
    series = series_of((30, 20, 20), (4.0, 4.0, 4.0), (*ORIGIN[:2], z_of(first)))
    numbers = level_map('totalsegmentator')
    found = read_vertebrae(tmp_path / 'v.nii', series, ['L2', 'L3'], numbers)
    assert list(found.z) == [left]
    assert f'{cut} is cut by the end of the scan' in found.rejected[cut]


@pytest.mark.parametrize('axis', [0, 1])
@pytest.mark.parametrize('mm', [-5000, -60, 60, 5000])
def test_a_vertebra_beside_the_image_is_rejected(tmp_path, axis, mm):
    save_nifti(tmp_path / 'v.nii', spine(), affine=affine_of(SPACING))
    origin = [*ORIGIN]
    origin[axis] += mm
    series, numbers = series_of(SHAPE, SPACING, origin), level_map('totalsegmentator')
    found = read_vertebrae(tmp_path / 'v.nii', series, ['L3'], numbers)
    assert 'L3 is not within the pixels of /scan/0.dcm' in found.rejected['L3']


def test_a_vertebra_may_end_at_the_edge_of_the_image(tmp_path):
    """The middles of its voxels of 4 mm may lie beyond."""
    save_nifti(tmp_path / 'v.nii', spine(), affine=affine_of(SPACING))
    edge = series_of((160, 24, 16), (1.0, 2.0, 2.0), (ORIGIN[0] + 27, ORIGIN[1] + 15, ORIGIN[2]))
    found = read_vertebrae(tmp_path / 'v.nii', edge, ['L3'], level_map('totalsegmentator'))
    assert found.z == pytest.approx({'L3': read(tmp_path, spine()).z['L3']})


def test_a_mask_in_another_frame_of_reference_is_refused(tmp_path):
    def change(dataset):
        dataset.FrameOfReferenceUID = '1.9'
        dataset.ReferencedSeriesSequence = [pydicom.Dataset()]
        dataset.ReferencedSeriesSequence[0].SeriesInstanceUID = '1.8'

    save_segmentation(tmp_path / 'v.dcm', {'L3': spine() == 29}, spacing=SPACING, change=change)
    series = series_of(SHAPE, SPACING)
    assert 'L3' in read_vertebrae(tmp_path / 'v.dcm', series, ['L3'], level_map()).z
    other = dataclasses.replace(series, frame_of_reference='1.7')
    with pytest.raises(InputError, match=r'FrameOfReferenceUID is 1\.9, but .*0\.dcm is 1\.7'):
        read_vertebrae(tmp_path / 'v.dcm', other, ['L3'], level_map())


def test_a_segmentation_holds_levels_too(tmp_path):
    """Its planes end where the vertebrae end, which does not cut them."""
    segments = {f'{level} vertebra': spine() == number for level, number in NUMBERS.items()}
    save_segmentation(tmp_path / 'v.dcm', segments, spacing=SPACING)
    series = series_of(SHAPE, SPACING)
    for reference in ('middle', 'inferior'):
        found = read_vertebrae(tmp_path / 'v.dcm', series, LEVELS, level_map(), reference)
        assert found.z == pytest.approx(read(tmp_path, spine(), reference=reference).z)


def test_planes_at_impossible_heights_are_no_vertebra(tmp_path):
    def change(dataset):
        group = dataset.PerFrameFunctionalGroupsSequence[0]
        group.PlanePositionSequence[0].ImagePositionPatient = [*ORIGIN[:2], 1e12]

    save_segmentation(tmp_path / 'v.dcm', {'L3': spine() == 29}, spacing=SPACING, change=change)
    found = read_vertebrae(tmp_path / 'v.dcm', series_of(SHAPE, SPACING), ['L3'], level_map())
    assert 'L3 is cut by the end of the scan' in found.rejected['L3']


def test_levels_in_the_wrong_order_are_rejected(tmp_path):
    labels, swapped = spine(), spine()
    swapped[labels == 29], swapped[labels == 28] = 28, 29
    found = read(tmp_path, swapped)
    assert not found.z
    assert 'does not fit L4: L3 is -38 mm above L4, expected 0 to 60 mm' in found.rejected['L3']


def test_levels_too_far_apart_are_rejected(tmp_path):
    labels = spine()
    labels[labels != 30] = 0
    labels[2:17, 3:10, 6:14] = 29
    found = read(tmp_path, labels, ['L2', 'L3'])
    assert 'L2 does not fit L3: L2 is 98 mm above L3, expected 0 to 60 mm' in found.rejected['L2']
    assert set(found.rejected) == {'L2', 'L3'}


def test_levels_that_are_not_in_the_mask_are_rejected(tmp_path):
    found = read(tmp_path, spine(), ['L1'])
    assert 'L1 is not in the mask, which has only L2, L3, L4' in found.rejected['L1']
    empty = read(tmp_path, np.zeros_like(spine()), ['L3']).rejected['L3']
    assert 'no level; check --vertebra_numbers' in empty


def test_levels_have_numbers_and_names(tmp_path):
    labels = np.select([spine() == 30, spine() == 29, spine() == 28], [21, 22, 23]).astype(np.uint8)
    expected = read(tmp_path, spine()).z
    series = series_of(SHAPE, SPACING)
    save_nifti(tmp_path / 'v.nii', labels, affine=affine_of(SPACING))
    assert read_vertebrae(tmp_path / 'v.nii', series, LEVELS, level_map('verse')).z == expected
    for name in ('vertebrae_L3', 'l3', 'L3 vertebra'):
        folder = tmp_path / name
        folder.mkdir()
        affine = affine_of(SPACING)
        save_nifti(folder / f'{name}.nii', np.uint8(spine() == 29), affine=affine)
        save_nifti(folder / 'liver.nii', np.uint8(spine() == 28), affine=affine)
        found = read_vertebrae(folder, series, ['L3'], level_map())
        assert found.z == pytest.approx({'L3': expected['L3']})


def test_unknown_numbers_are_refused():
    with pytest.raises(InputError, match=r'--vertebra_numbers=nnunet: .* totalsegmentator, verse'):
        level_map('nnunet')


def read_real(mask, image, levels, numbers):
    series = find_series(SHARED_DATA / image).series[0]
    return read_vertebrae(mask, series, levels, level_map(numbers))


@needs_shared_data
def test_real_levels_of_whole_vertebrae():
    folder = SHARED_DATA / 'totalsegmentator'
    levels = ('T12', 'L1', 'L2', 'L3', 'L4', 'L5')
    mask, image = folder / 'ct_spine_vertebrae.nii.gz', 'totalsegmentator/ct_spine.nii.gz'
    found = read_real(mask, image, levels, 'totalsegmentator')
    expected = {'L5': 246.0, 'L4': 278.8, 'L3': 314.6, 'L2': 348.7, 'L1': 382.6}
    assert found.z == pytest.approx(expected, abs=0.06)
    assert 'T12 is cut by the end of the scan' in found.rejected['T12']


@needs_shared_data
def test_real_levels_of_vertebral_bodies(tmp_path):
    folder = SHARED_DATA / 'totalsegmentator'
    vertebrae, body = (
        nibabel.load(folder / f'ct_spine_vertebrae{what}.nii.gz') for what in ('', '_body')
    )
    labels = np.where(np.asarray(body.dataobj) == 1, np.asarray(vertebrae.dataobj), 0)
    nibabel.save(nibabel.Nifti1Image(labels, vertebrae.affine), tmp_path / 'v.nii')
    levels = ('L1', 'L2', 'L3', 'L4', 'L5')
    image = 'totalsegmentator/ct_spine.nii.gz'
    found = read_real(tmp_path / 'v.nii', image, levels, 'totalsegmentator')
    expected = {'L5': 242.4, 'L4': 278.2, 'L3': 315.7, 'L2': 351.7, 'L1': 386.0}
    assert found.z == pytest.approx(expected, abs=0.06)


@needs_shared_data
def test_real_levels_of_a_crop_whose_first_axis_is_not_x():
    folder = SHARED_DATA / 'vertebra_crop'
    mask, image = folder / 'sub-ct_seg-vert_label-22_msk.nii.gz', 'sub-ct_label-22_ct.nii.gz'
    found = read_real(mask, f'vertebra_crop/{image}', ('L2', 'L3', 'L4'), 'verse')
    assert found.z == pytest.approx({'L3': -65.6}, abs=0.06)
    assert all('is cut by the end' in found.rejected[level] for level in ('L2', 'L4'))
