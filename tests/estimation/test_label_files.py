"""Slices as files for other programs."""

import itertools

import nibabel
import numpy as np
import pytest
from mask_files import PATTERN, series_of
from PIL import Image
from scan_files import write_slice

from bodycomp_jax.data.masks.labels import label_map
from bodycomp_jax.data.masks.mask import open_mask
from bodycomp_jax.data.scans import Turn, find_series
from bodycomp_jax.data.scans.nifti import NiftiVolume
from bodycomp_jax.estimation.label_files import write_label_png, write_nifti
from bodycomp_jax.metrics.tinting import COLOURS


@pytest.mark.parametrize('ending', ['nii', 'nii.gz'])
def test_a_nifti_file_has_the_slice_where_it_is(tmp_path, ending):
    path = str(tmp_path / f'a.{ending}')
    series = series_of()
    write_nifti(path, series, 2, PATTERN[2])
    image = nibabel.load(path)
    assert image.shape == (11, 9, 1)
    x, y, z = series.slices[2].grid.point(4, 7)
    np.testing.assert_allclose(image.affine @ (7, 4, 0, 1), (-x, -y, z, 1), atol=1e-4)
    assert np.asarray(image.dataobj)[7, 4, 0] == PATTERN[2, 4, 7]
    np.testing.assert_allclose(image.header.get_zooms(), (0.7, 0.8, 5))
    volume = NiftiVolume(path)
    (of,) = volume.slices
    assert of.grid.position == pytest.approx(series.slices[2].grid.position, abs=1e-4)
    np.testing.assert_array_equal(of.turn.apply(volume.stored(of)), PATTERN[2])


@pytest.mark.parametrize('i', [0, 2])
def test_a_nifti_file_is_read_as_a_mask_of_its_slice(tmp_path, i):
    path = str(tmp_path / 'a.nii.gz')
    series = series_of()
    labels = np.where(PATTERN[i] == 255, 0, PATTERN[i]).astype(np.uint8)
    write_nifti(path, series, i, labels)
    mask = open_mask(
        path, series, label_map(muscle='1', subcutaneous_fat='2', visceral_fat='3'), resample=True
    )
    np.testing.assert_array_equal(mask.labels(i), labels)
    assert (mask.labels(i + 1) == 255).all()


def test_hu_and_tilted_slices_are_written(tmp_path):
    path = str(tmp_path / 'a.nii')
    write_slice(tmp_path / 'a.dcm', ImageOrientationPatient=[1, 0, 0, 0, 0.98480775, 0.17364818])
    (series,) = find_series(tmp_path / 'a.dcm').series
    write_nifti(path, series, 0, series.hu(0))
    image = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj)[..., 0].T, series.hu(0))
    x, y, z = series.slices[0].grid.point(5, 3)
    np.testing.assert_allclose(image.affine @ (3, 5, 0, 1), (-x, -y, z, 1), atol=1e-4)


@pytest.mark.parametrize('flags', list(itertools.product((False, True), repeat=3)))
def test_a_label_image_is_read_on_its_slice(tmp_path, flags):
    series = series_of(turn=Turn(*flags))
    write_label_png(str(tmp_path / '3.png'), series.slices[3], PATTERN[3])
    mask = open_mask(
        tmp_path, series, label_map('alberta', muscle='1', subcutaneous_fat='2', visceral_fat='3')
    )
    np.testing.assert_array_equal(mask.labels(3), PATTERN[3])


def test_a_label_image_shows_the_tissues(tmp_path):
    path = tmp_path / 'a.png'
    labels = np.arange(5, dtype=np.uint8)[None]
    write_label_png(str(path), series_of().slices[0], labels)
    with Image.open(path) as picture:
        assert picture.mode == 'P'
        np.testing.assert_array_equal(
            np.asarray(picture.convert('RGB'))[0], [(0, 0, 0), *COLOURS.values()]
        )
