import io

import numpy as np
import pydicom
import pytest
from helpers import SHARED_DATA, needs_shared_data
from mask_files import PATTERN, labels_of, save_segmentation, series_of
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless

from bodycomp_jax.data.masks.dicom_seg import open_segmentation
from bodycomp_jax.data.masks.labels import UnexplainedLabelError, label_map
from bodycomp_jax.data.masks.planes import PlanesMask
from bodycomp_jax.data.scans import find_series
from bodycomp_jax.errors import InputError

SEGMENTS = {name: n == PATTERN for n, name in enumerate(('Muscle', 'Fat: inner', 'Liver'), 1)}
TISSUES = label_map(visceral_fat=['fat inner'], background=['Liver'])
LABELS = np.select([PATTERN == 1, PATTERN == 2], [1, 3]).astype(np.uint8)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'a.dcm')


def read(path, tissues=TISSUES, names=None):
    planes = open_segmentation(path, tissues, names or {})
    return labels_of(PlanesMask(planes, series_of(), resample=False))


@pytest.mark.parametrize('upwards', [False, True])
def test_frames_are_placed_by_their_positions(path, upwards):
    save_segmentation(path, SEGMENTS, upwards=upwards)
    np.testing.assert_array_equal(read(path), LABELS)


def test_a_slice_without_frames_is_not_labelled(path):
    some = np.arange(6)[:, None, None] != 2
    save_segmentation(path, {name: segment & some for name, segment in SEGMENTS.items()})
    np.testing.assert_array_equal(read(path), np.where(some, LABELS, 255))


def test_fractions_of_a_half_and_more_belong_to_a_segment(path):
    share = np.where(PATTERN == 1, 100, np.where(PATTERN == 2, 99, 0))
    save_segmentation(
        path,
        {'Muscle': share},
        kind='FRACTIONAL',
        change=lambda dataset: setattr(dataset, 'MaximumFractionalValue', 200),
    )
    np.testing.assert_array_equal(read(path), (PATTERN == 1).astype(np.uint8))


def test_label_maps_name_a_segment_per_pixel(path):
    numbers = np.where(PATTERN == 255, 0, PATTERN)
    save_segmentation(path, dict.fromkeys(SEGMENTS, numbers), kind='LABELMAP', upwards=True)
    np.testing.assert_array_equal(read(path), LABELS)


@pytest.mark.parametrize('key', ['2', 'fat inner', 'T-2', '99TEST:T-2'])
def test_segments_have_numbers_labels_and_codes(path, key):
    save_segmentation(path, SEGMENTS)
    found = read(path, label_map(subcutaneous_fat=[key], background=['others', 'muscle']))
    np.testing.assert_array_equal(found == 2, PATTERN == 2)


def test_segments_that_nothing_explains_are_refused(path):
    save_segmentation(path, SEGMENTS)
    with pytest.raises(UnexplainedLabelError, match=r'a\.dcm: .* label 3 \(Liver\) means'):
        read(path, label_map(visceral_fat=['2']))


def test_tissues_that_overlap_are_refused(path):
    save_segmentation(path, {'muscle': PATTERN > 0, 'visceral fat': PATTERN == 2})
    with pytest.raises(InputError, match=r'a\.dcm: segment 2: .* are also of another class'):
        read(path)


def test_compressed_bits_are_decoded(path):
    save_segmentation(path, SEGMENTS, change=compress)
    np.testing.assert_array_equal(read(path), LABELS)


def test_damaged_pictures_are_refused(path):
    def change(dataset):
        compress(dataset)
        dataset.Rows -= 1

    save_segmentation(path, SEGMENTS, change=change)
    with pytest.raises(InputError, match=r'a\.dcm: .*another size than Rows x Columns'):
        open_segmentation(path, TISSUES, {}).read(0)


def compress(dataset):
    """JPEG 2000, a picture for each frame."""
    shape = dataset.NumberOfFrames, dataset.Rows, dataset.Columns
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    bits = np.unpackbits(packed, count=np.prod(shape), bitorder='little').reshape(shape)
    files = [io.BytesIO() for _ in bits]
    for frame, file in zip(bits, files, strict=True):
        Image.fromarray(frame).save(file, 'JPEG2000', no_jp2=True)
    dataset.PixelData = encapsulate([file.getvalue() for file in files])
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless


def test_bits_in_words_of_either_order_are_read(path):
    def change(dataset):
        words = np.frombuffer(dataset.PixelData, '<u2').astype('>u2')
        dataset.add_new('PixelData', 'OW', words.tobytes())
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian

    save_segmentation(path, SEGMENTS, change=change)
    np.testing.assert_array_equal(read(path), LABELS)


def test_a_segmentation_knows_its_image(path):
    def change(dataset):
        dataset.FrameOfReferenceUID = '1.9'
        dataset.ReferencedSeriesSequence = [pydicom.Dataset()]
        dataset.ReferencedSeriesSequence[0].SeriesInstanceUID = '1.8'

    save_segmentation(path, SEGMENTS, change=change)
    assert open_segmentation(path, TISSUES, {}).image == ('1.9', '1.8')
    save_segmentation(path, SEGMENTS)
    assert open_segmentation(path, TISSUES, {}).image == ('', '')


def test_a_segmentation_of_several_series_is_of_none(path):
    def change(dataset):
        dataset.ReferencedSeriesSequence = [pydicom.Dataset(), pydicom.Dataset()]
        for i, series in enumerate(dataset.ReferencedSeriesSequence):
            series.SeriesInstanceUID = f'1.{i}'

    save_segmentation(path, SEGMENTS, change=change)
    assert open_segmentation(path, TISSUES, {}).image == ('', '')


def without(keyword, sequence='PlanePositionSequence'):
    def change(dataset):
        del dataset.PerFrameFunctionalGroupsSequence[1][sequence][0][keyword]

    return change


def with_frame(keyword, value, sequence):
    def change(dataset):
        group = dataset.PerFrameFunctionalGroupsSequence[0]
        group[sequence].value = [pydicom.Dataset()]
        setattr(group[sequence][0], keyword, value)

    return change


def with_element(keyword, value):
    return lambda dataset: setattr(dataset, keyword, value)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (with_element('SOPClassUID', '1.2.840.10008.5.1.4.1.1.2'), 'of modality SEG, expected SEG'),
        (without('ImagePositionPatient'), 'frame 2 has no ImagePositionPatient in a PlanePosition'),
        (
            without('ReferencedSegmentNumber', 'SegmentIdentificationSequence'),
            'frame 2 has no ReferencedSegmentNumber',
        ),
        (
            with_frame('ImagePositionPatient', [-19, -35.5, 125.25], 'PlanePositionSequence'),
            'frame .* has another grid than others',
        ),
        (with_element('NumberOfFrames', 1_000_000_000), 'NumberOfFrames is 1000000000, but'),
        (with_element('Rows', 60000), 'slices of 60000 x 11 pixels'),
        (with_element('Rows', 4000), 'its pixels end within frame'),
        (with_element('PixelData', b'\0\0'), 'its pixels end within frame'),
        (
            lambda dataset: dataset.pop('SharedFunctionalGroupsSequence'),
            'frame 1 has no ImageOrientationPatient',
        ),
        (
            lambda dataset: dataset.pop('PerFrameFunctionalGroupsSequence'),
            'PerFrameFunctionalGroupsSequence describes 0',
        ),
    ],
)
def test_invalid_segmentations_are_refused(path, change, message):
    save_segmentation(path, SEGMENTS, change=change)
    with pytest.raises(InputError, match=rf'a\.dcm: .*{message}'):
        planes = open_segmentation(path, TISSUES, {})
        planes.read(0)


@pytest.mark.parametrize('kept', [0, 10, 200, 400, 2000, -100])
def test_truncated_files_are_refused(path, kept):
    save_segmentation(path, SEGMENTS)
    with open(path, 'rb') as file:
        content = file.read()[:kept]
    with open(path, 'wb') as file:
        file.write(content)
    with pytest.raises(InputError, match=r'a\.dcm: '):
        read(path)


@needs_shared_data
def test_a_real_segmentation_lies_on_the_liver():
    series = find_series(SHARED_DATA / 'dicom/implicit_vr').series[0]
    path = str(SHARED_DATA / 'dicom/implicit_vr_seg/liver.dcm')
    planes = open_segmentation(path, label_map(muscle=['liver']), {})
    labels = labels_of(PlanesMask(planes, series, resample=False), 3)
    assert (labels == 1).sum((1, 2)).tolist() == [36233, 35645, 35220]
    hu = np.stack([series.hu(i) for i in range(3)])
    assert 30 < hu[labels == 1].mean() < 45
