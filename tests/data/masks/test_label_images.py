import dataclasses

import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data
from mask_files import PATTERN, SHAPE, labels_of, series_of
from PIL import Image

from bodycomp_jax.data.masks.label_images import LabelImages
from bodycomp_jax.data.masks.labels import UnexplainedLabelError, label_map
from bodycomp_jax.data.scans import Turn, find_series
from bodycomp_jax.errors import InputError

TISSUES = label_map(muscle=['1'], subcutaneous_fat=['2'], visceral_fat=['3'])


def save_tag(path, labels, uid=''):
    header = f'x:{labels.shape[1]}\r\ny:{labels.shape[0]}\r\nuid:{uid}\r\n\x0c'
    path.write_bytes(header.encode() + labels.tobytes())


def save_png(path, labels, mode='L'):
    image = Image.frombytes(mode, labels.shape[::-1], labels.tobytes())
    if mode == 'P':
        image.putpalette(np.random.default_rng(0).bytes(768))
    image.save(path)


def read(paths, series=None, tissues=TISSUES):
    series = series or series_of()
    return labels_of(LabelImages(map(str, paths), series, tissues, {}), len(series))


def files_of(folder, names, save):
    for i, name in enumerate(names):
        save(folder / name, PATTERN[i])
    return sorted(folder.iterdir(), reverse=True)


@pytest.mark.parametrize('pattern', ['{}.npy', '{}.dcm.npy', '1.2.{}.NPY'])
def test_names_of_files_and_identifiers_say_which_slice_it_is(tmp_path, pattern):
    def save(path, labels):
        with open(path, 'wb') as file:
            np.save(file, labels)

    paths = files_of(tmp_path, map(pattern.format, range(6)), save)
    np.testing.assert_array_equal(read(paths), PATTERN)


def test_slices_without_a_label_image_are_not_labelled(tmp_path):
    save_png(tmp_path / '3.png', PATTERN[3])
    labels = read([tmp_path / '3.png'])
    np.testing.assert_array_equal(labels[3], PATTERN[3])
    assert (np.delete(labels, 3, axis=0) == 255).all()


@pytest.mark.parametrize(('mode', 'dtype'), [('L', np.uint8), ('P', np.uint8), ('I;16', '<u2')])
def test_png_files_of_labels_may_have_a_palette_or_16_bits(tmp_path, mode, dtype):
    save_png(tmp_path / '0.png', PATTERN[0].astype(dtype), mode)
    np.testing.assert_array_equal(read([tmp_path / '0.png'])[0], PATTERN[0])


def test_the_identifier_in_a_tag_file_goes_before_its_name(tmp_path):
    save_tag(tmp_path / '0.tag', PATTERN[4], '1.2.4')
    save_tag(tmp_path / '5.tag', PATTERN[5], '1.2')  # of the series
    labels = read(tmp_path.iterdir())
    np.testing.assert_array_equal(labels[4:], PATTERN[4:])
    assert (labels[:4] == 255).all()


def test_label_images_turn_as_the_pixels_of_their_files(tmp_path):
    turn = Turn(transposed=True, columns_flipped=True)
    save_tag(tmp_path / '0.tag', np.ascontiguousarray(turn.undo(PATTERN[0])))
    np.testing.assert_array_equal(read(tmp_path.iterdir(), series_of(turn=turn))[0], PATTERN[0])


def test_a_label_image_of_the_only_slice_may_have_any_name(tmp_path):
    np.save(tmp_path / 'labels.npy', PATTERN[:1].astype(float))
    series = series_of((1, *SHAPE[1:]))
    np.testing.assert_array_equal(read([tmp_path / 'labels.npy'], series), PATTERN[:1])


def test_a_name_that_two_slices_share_is_of_neither(tmp_path):
    series = series_of()
    frames = tuple(dataclasses.replace(each, path='/scan/all.dcm') for each in series.slices)
    save_png(tmp_path / 'all.png', PATTERN[0])
    with pytest.raises(InputError, match=r'all\.png: is of none of the 6 slices'):
        read(tmp_path.iterdir(), dataclasses.replace(series, slices=frames))


def test_label_images_of_no_slice_are_refused(tmp_path):
    save_png(tmp_path / '7.png', PATTERN[0])
    message = r'7\.png: is of none of the 6 slices, such as /scan/0\.dcm; name each label image'
    with pytest.raises(InputError, match=message):
        read(tmp_path.iterdir())


def test_two_label_images_of_one_slice_are_refused(tmp_path):
    for name in ('0.png', '1.2.0.png'):
        save_png(tmp_path / name, PATTERN[0])
    with pytest.raises(InputError, match=r'the slice has another label image, .*0\.png; remove'):
        read(tmp_path.iterdir())


def test_label_images_of_a_nifti_file_are_refused(tmp_path):
    save_png(tmp_path / '0.png', PATTERN[0])
    series = series_of()
    slices = tuple(dataclasses.replace(each, path='/scan/a.nii.gz') for each in series.slices)
    with pytest.raises(InputError, match=r'0\.png: .* give the mask as NIfTI too'):
        read(tmp_path.iterdir(), dataclasses.replace(series, slices=slices))


def test_label_images_of_another_size_are_refused(tmp_path):
    save_png(tmp_path / '0.png', PATTERN[0].T)
    message = r'0\.png: 11 x 9 pixels, but its image /scan/0\.dcm has 9 x 11; a label image has no'
    with pytest.raises(InputError, match=message):
        read(tmp_path.iterdir())


def test_slices_in_one_file_are_refused(tmp_path):
    np.save(tmp_path / '0.npy', PATTERN)
    with pytest.raises(InputError, match=r'0\.npy: uint8 of shape \(6, 9, 11\), .* save a file'):
        read(tmp_path.iterdir())


def test_pictures_in_colour_are_refused(tmp_path):
    Image.new('RGB', (11, 9)).save(tmp_path / '0.png')
    with pytest.raises(InputError, match=r'0\.png: .* labels are numbers and not colours'):
        read(tmp_path.iterdir())


def test_labels_that_nothing_explains_are_refused(tmp_path):
    save_png(tmp_path / '0.png', PATTERN[0])
    with pytest.raises(UnexplainedLabelError, match=r'0\.png: .* label 2, 3 means'):
        read(tmp_path.iterdir(), tissues=label_map(muscle=['1']))


@needs_shared_data
def test_a_real_slice_has_the_areas_of_its_labels():
    folder = SHARED_DATA / 'l3_other_patient'
    series = find_series(folder / 'slice.dcm').series[0]
    tissues = label_map(muscle=['1'], subcutaneous_fat=['2'], visceral_fat=['3'], background=['4'])
    labels = read([folder / 'labels.npy'], series, tissues)[0]
    row_mm, column_mm = series.slices[0].grid.spacing
    areas = [(labels == label).sum() * row_mm * column_mm / 100 for label in (1, 2, 3)]
    assert areas == pytest.approx([170.3, 117.5, 277.7], abs=0.05)
    assert np.mean(series.hu(0)[labels == 1]) > 0 > np.mean(series.hu(0)[labels == 2])
