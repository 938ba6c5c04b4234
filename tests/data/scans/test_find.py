import os
import re

import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data
from scan_files import HU, write_nifti, write_slice

from bodycomp_jax.data.scans import find_series
from bodycomp_jax.errors import InputError


def reasons(found):
    return {os.path.basename(each.path): each.reason for each in found.skipped}


def test_series_are_found_at_any_depth_under_any_name(tmp_path):
    deep = tmp_path / 'a' / 'b'
    deep.mkdir(parents=True)
    write_slice(deep / 'IM000001', z=5)
    write_slice(tmp_path / 'slice.txt', z=0)
    write_nifti(tmp_path / 'a' / 'scan.nii.gz', np.stack([HU, HU], -1))
    found = find_series(tmp_path)
    assert [len(series) for series in found.series] == [2, 2]
    assert found.skipped == []


def test_files_are_in_the_order_of_their_paths(tmp_path):
    for i, name in enumerate(('a-b', 'a.dcm', 'a/2', 'ab', 'b')):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_slice(tmp_path / name, SeriesInstanceUID=f'1.{9 - i}')
    found = [series.slices[0].path for series in find_series(tmp_path).series]
    assert found == sorted(found)
    assert len(found) == 5


def test_a_single_file_is_a_series(tmp_path):
    write_slice(tmp_path / 'slice')
    (series,) = find_series(tmp_path / 'slice').series
    assert len(series) == 1


def test_each_file_that_is_not_taken_has_one_reason(tmp_path):
    write_slice(tmp_path / 'taken')
    write_slice(tmp_path / 'other', Modality='MR')
    (tmp_path / 'notes.txt').write_text('hello')
    (tmp_path / 'empty').touch()
    (tmp_path / 'gone').symlink_to('nowhere')
    os.mkfifo(tmp_path / 'pipe')
    write_nifti(tmp_path / 'mask.nii', np.zeros((3, 3, 3), np.uint8))
    found = find_series(tmp_path)
    assert len(found.series) == 1
    expected = {
        'other': 'not a CT image',
        'notes.txt': 'not a DICOM file',
        'empty': 'an empty file',
        'gone': 'No such file',
        'pipe': 'not a regular file',
        'mask.nii': 'do not look like HU',
    }
    found_reasons = reasons(found)
    assert found_reasons.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in found_reasons[name]
        assert str(tmp_path) not in found_reasons[name]


def test_links_are_followed_once(tmp_path):
    (tmp_path / 'folder').mkdir()
    write_slice(tmp_path / 'folder' / 'slice')
    (tmp_path / 'folder' / 'loop').symlink_to(tmp_path)
    found = find_series(tmp_path / 'folder' / 'loop')
    assert [len(series) for series in found.series] == [1]
    assert found.skipped == []


def test_a_missing_path_is_an_error(tmp_path):
    with pytest.raises(InputError, match='missing: no such file or folder; check the path'):
        find_series(tmp_path / 'missing')


def test_progress_passes_each_file(tmp_path):
    for i in range(3):
        write_slice(tmp_path / str(i), z=i)
    seen = []

    def progress(items, count, title):
        for item in items:
            seen.append((count, title))
            yield item

    find_series(tmp_path, progress=progress)
    assert seen == [(3, str(tmp_path))] * 3


def test_parts_of_a_series_have_names_of_their_own(tmp_path):
    for name, acquisition in (('a', 1), ('b', 2)):
        write_slice(
            tmp_path / name, AcquisitionNumber=acquisition, SOPInstanceUID=f'1.{acquisition}'
        )
    found = find_series(tmp_path)
    assert [series.uid for series in found.series] == ['1.2.3.4'] * 2
    assert [series.name for series in found.series] == ['1.2.3.4-1', '1.2.3.4-2']


def test_without_rescaling_values_must_look_like_hu(tmp_path):
    missing = {'RescaleSlope': None, 'RescaleIntercept': None}
    write_slice(tmp_path / 'hu', PixelData=HU.tobytes(), **missing)
    (series,) = find_series(tmp_path).series
    np.testing.assert_array_equal(series.hu(0), HU)
    write_slice(tmp_path / 'hu', PixelData=(HU + 1024).tobytes(), **missing)
    found = find_series(tmp_path)
    assert not found.series
    assert 'RescaleSlope or RescaleIntercept is missing in 1 of 1 slices' in reasons(found)['hu']


DOUBTFUL = [
    {'RescaleSlope': None},
    {'RescaleType': 'US'},
    {'RescaleType': 'Hounsfield units'},
    {'ImageType': ['DERIVED', 'SECONDARY', 'AXIAL']},
]


@pytest.mark.parametrize('elements', DOUBTFUL)
@pytest.mark.parametrize('names', ['a', 'ae', 'abcd'])
def test_every_doubt_about_the_values_is_settled_by_one_of_the_slices(tmp_path, elements, names):
    for shift, count in ((0, 1), (1100, 0)):
        for z, name in enumerate('abcde'):
            doubtful = elements if name in names else {}
            pixels = HU + (shift if name in names else 0)
            write_slice(tmp_path / name, z=z, PixelData=(pixels + 24).tobytes(), **doubtful)
        found = find_series(tmp_path)
        assert len(found.series) == count
        assert all(
            f'in {len(names)} of 5 slices, and one of them' in each.reason for each in found.skipped
        )


def test_padding_does_not_settle_a_doubt(tmp_path):
    stored = HU + 1100
    stored[0] = -2000
    pixels = {'PixelData': stored.tobytes(), 'RescaleSlope': None}
    write_slice(tmp_path / 'a', PixelPaddingValue=-2000, **pixels)
    assert 'do not look like HU: above -1024' in reasons(find_series(tmp_path))['a']


@pytest.mark.parametrize('uid', ['../../evil/x', '..', '1.2/3', '1' * 65, '1.2 3'])
def test_what_is_no_uid_becomes_no_name(tmp_path, uid):
    write_slice(tmp_path / 'a')
    content = (tmp_path / 'a').read_bytes()
    old = b' \0\x0e\0UI\x08\x001.2.3.4\0'
    new = uid.encode() + b'\0' * (len(uid) % 2)
    assert content.count(old) == 1
    new = old[:6] + len(new).to_bytes(2, 'little') + new
    (tmp_path / 'a').write_bytes(content.replace(old, new))
    (series,) = find_series(tmp_path).series
    assert series.uid == uid
    assert re.fullmatch('series-[0-9a-f]{16}', series.name)


@needs_shared_data
@pytest.mark.parametrize(
    ('folder', 'distances', 'tilt'),
    [
        ('gantrytilting', [5 * 0.9703] * 3, 14.0),
        ('sliceincrement/001', [5, 5, 10], 0),
        ('sliceincrement/002', [0.7497, 0.7497, 1.4994], 15.5),
    ],
)
def test_gaps_and_tilt_of_real_series(folder, distances, tilt):
    (series,) = find_series(SHARED_DATA / 'dicom/geometry_traps' / folder).series
    np.testing.assert_allclose(series.distances, distances, atol=1e-3)
    assert series.tilt_degrees == pytest.approx(tilt, abs=0.01)


@needs_shared_data
def test_slices_at_one_position_are_series_of_one():
    found = find_series(SHARED_DATA / 'dicom/geometry_traps/notavolume')
    assert [len(series) for series in found.series] == [1] * 4
    assert [os.path.basename(series.slices[0].path) for series in found.series] == [
        '001.dcm', '002.dcm', '003.dcm', '004.dcm',
    ]  # fmt: skip


@needs_shared_data
def test_odd_objects_are_taken_or_refused_by_what_they_are():
    found = find_series(SHARED_DATA / 'dicom/odd_objects')
    taken = {os.path.basename(series.slices[0].path): series for series in found.series}
    assert taken.keys() == {'axial_lower_chest_j2k_pad.dcm', 'lumbar_tilt_small_fov.dcm'}
    assert taken['lumbar_tilt_small_fov.dcm'].tilt_degrees == pytest.approx(5.5, abs=0.01)
    assert 'not axial' in reasons(found)['coronal_mpr_pelvis_j2k.dcm']
    assert 'LOCALIZER' in reasons(found)['localizer_ffs_j2k_lossy.dcm']


@needs_shared_data
def test_a_series_without_uids_is_one_series():
    (series,) = find_series(SHARED_DATA / 'totalsegmentator/ct_dicom').series
    assert len(series) == 20
    assert series.z.tolist() == list(np.arange(-804.5, -766, 2))
    assert series.uid == ''


@needs_shared_data
def test_copies_of_a_slice_in_other_transfer_syntaxes_are_one_slice():
    found = find_series(SHARED_DATA / 'dicom/transfer_syntaxes')
    assert [len(series) for series in found.series] == [1]
    assert len(found.skipped) == 9
    assert all('the same slice as' in each.reason for each in found.skipped)


@needs_shared_data
def test_a_segmentation_is_no_scan():
    found = find_series(SHARED_DATA / 'dicom/implicit_vr_seg')
    assert reasons(found) == {'liver.dcm': "not a CT image, but 'Segmentation Storage'"}
