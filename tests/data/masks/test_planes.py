import dataclasses

import numpy as np
import pytest
from mask_files import ORIGIN, PATTERN, SHAPE, SPACING, affine_of, labels_of, save_nifti, series_of

from bodycomp_jax.data.masks.labels import label_map
from bodycomp_jax.data.masks.nifti import open_nifti
from bodycomp_jax.data.masks.planes import ImageUids, LabelPlanes, PlanesMask
from bodycomp_jax.errors import InputError


def planes_of(labels=PATTERN, spacing=SPACING, origin=ORIGIN, *, complete=True, thickness=0.0):
    grids = tuple(each.grid for each in series_of(labels.shape, spacing, origin).slices)
    return LabelPlanes('mask.nii', grids, thickness, complete, labels.__getitem__)


def test_labels_of_the_same_grid_are_taken_as_they_are():
    mask = PlanesMask(planes_of(), series_of(), resample=False)
    np.testing.assert_array_equal(labels_of(mask), PATTERN)


def test_slices_find_their_planes_whatever_their_order():
    series = series_of()
    back = dataclasses.replace(series, slices=series.slices[::-1])
    mask = PlanesMask(planes_of(), back, resample=False)
    np.testing.assert_array_equal(labels_of(mask), PATTERN[::-1])


@pytest.mark.parametrize(
    'other',
    [
        {'labels': PATTERN[:, :, :-1]},
        {'labels': PATTERN[:-1]},
        {'origin': (ORIGIN[0] + 0.1, *ORIGIN[1:])},
        {'origin': (*ORIGIN[:2], ORIGIN[2] + 1)},
        {'spacing': (SPACING[0], SPACING[1], SPACING[2] + 0.01)},
        {'spacing': (SPACING[0] + 0.1, *SPACING[1:])},
        {'labels': PATTERN.repeat(2, axis=1)[:, 1:], 'spacing': (5.0, 0.4, 0.7)},  # same corners
        {'labels': PATTERN[:1], 'origin': (*ORIGIN[:2], ORIGIN[2] - 5), 'complete': False},
    ],
)
def test_other_grids_are_refused_with_both_named(other):
    message = (
        r'mask\.nii: \d slices of \d+ x 1\d pixels of 0\.[84] x 0\.71? mm \(x .*, y .*, z .* mm\), '
        r'but its image /scan/0\.dcm has 6 slices of 9 x 11 pixels of 0\.8 x 0\.7 mm '
        r'\(x -20\.00 to -13\.00, y -35\.50 to -29\.10, z 100\.25 to 125\.25 mm\): '
        '.* --resample_masks'
    )
    with pytest.raises(InputError, match=message):
        PlanesMask(planes_of(**other), series_of(), resample=False)


@pytest.mark.parametrize(
    ('image', 'message', 'resample'),
    [
        (ImageUids('1.9', ''), 'FrameOfReferenceUID is 1.9, but that of /scan/0.dcm is 1.3', True),
        (
            ImageUids('1.3', '1.9'),
            'SeriesInstanceUID is 1.9, but that of /scan/0.dcm is 1.2',
            False,
        ),
        (ImageUids('', '1.9'), 'SeriesInstanceUID is 1.9', False),
    ],
)
def test_masks_of_another_image_are_refused(image, message, resample):
    """That of another series of the same frame of reference can be resampled."""
    planes = dataclasses.replace(planes_of(), image=image)
    series = dataclasses.replace(series_of(), frame_of_reference='1.3')
    with pytest.raises(InputError, match=f'mask.nii: made on an image whose {message}'):
        PlanesMask(planes, series, resample=resample)
    if not resample:
        PlanesMask(planes, series, resample=True)


@pytest.mark.parametrize('image', [ImageUids(), ImageUids('1.3', '1.2'), ImageUids('1.3')])
def test_masks_of_this_or_an_unknown_image_are_taken(image):
    planes = dataclasses.replace(planes_of(), image=image)
    for frame in ('1.3', ''):
        series = dataclasses.replace(series_of(), frame_of_reference=frame)
        PlanesMask(planes, series, resample=False)


def test_rounded_positions_are_the_same():
    mask = PlanesMask(planes_of(origin=(-20.001, -35.501, 100.3)), series_of(), resample=False)
    np.testing.assert_array_equal(labels_of(mask), PATTERN)


def test_slices_without_a_plane_are_not_labelled():
    sparse = planes_of(PATTERN[2:3], origin=(*ORIGIN[:2], ORIGIN[2] + 10), complete=False)
    labels = labels_of(PlanesMask(sparse, series_of(), resample=False))
    np.testing.assert_array_equal(labels[2], PATTERN[2])
    assert (np.delete(labels, 2, axis=0) == 255).all()


def test_each_pixel_gets_the_nearest_label_and_none_outside_of_the_mask():
    """Half the spacing in plane, first pixels at the same place; gaps of 10 instead of 5 mm."""
    fine = SPACING[0] * 2, SPACING[1] / 2, SPACING[2] / 2
    mask = PlanesMask(planes_of(spacing=fine), series_of((12, 9, 11)), resample=True)
    labels = labels_of(mask, 12)
    np.testing.assert_array_equal(labels[::2, :5, :6], PATTERN[:, ::2, ::2])
    assert (labels[:, 5:] == 255).all()
    assert (labels[:, :, 6:] == 255).all()


def test_slices_beyond_half_a_gap_are_not_labelled():
    moved = planes_of(np.ones(SHAPE, np.uint8), origin=(*ORIGIN[:2], ORIGIN[2] + 9))
    labels = labels_of(PlanesMask(moved, series_of(), resample=True))
    assert labels[:, 0, 0].tolist() == [255, 255, 1, 1, 1, 1]
    moved = planes_of(np.ones(SHAPE, np.uint8), origin=(*ORIGIN[:2], ORIGIN[2] + 8))
    assert labels_of(PlanesMask(moved, series_of(), resample=True))[1, 0, 0] == 255
    thin = planes_of(np.ones((1, 9, 11), np.uint8), thickness=2.0)
    assert labels_of(PlanesMask(thin, series_of(), resample=True))[:, 0, 0].tolist()[:2] == [1, 255]


def test_oblique_masks_are_resampled_plane_by_plane(tmp_path):
    """Rotated by 3 degrees about the x axis, through the middle of the first pixel."""
    labels = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 101, 3), np.uint8)
    turn, angle = np.eye(4), np.radians(3)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ affine_of((2.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    save_nifti(tmp_path / 'a.nii', labels, affine=affine)
    tissues = label_map(
        muscle=['1'], subcutaneous_fat=['2'], visceral_fat=['3'], background=['4', '5']
    )
    planes = open_nifti(str(tmp_path / 'a.nii'), tissues, {})
    series = series_of((1, 101, 3), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    found = PlanesMask(planes, series, resample=True).labels(0)[:, 1]
    y = np.arange(101)
    plane = np.rint(y * np.sin(angle) / 2).astype(int)
    expected = np.where(np.rint(y * np.cos(angle)) <= 100, np.array([0, 1, 2, 3, 0, 0])[plane], 255)
    np.testing.assert_array_equal(found, expected)


def test_planes_of_a_tilted_gantry_shift_from_one_to_the_next():
    planes = planes_of()
    grids = tuple(
        dataclasses.replace(grid, position=(ORIGIN[0], ORIGIN[1] + 0.4 * k, grid.position[2]))
        for k, grid in enumerate(planes.grids)
    )
    tilted = dataclasses.replace(planes, grids=grids)
    labels = labels_of(PlanesMask(tilted, series_of(), resample=True))
    np.testing.assert_array_equal(labels[4, 2:], PATTERN[4, :-2])
    assert (labels[4, :2] == 255).all()
