"""Segmentation sets from scans and masks."""

import json
import re
import shutil

import cohort
import numpy as np
import pytest
from helpers import read_rows
from PIL import Image

from bodycomp_jax.config import SegmentationConfig, from_values
from bodycomp_jax.data.prepared import determined_options
from bodycomp_jax.data.segmentation import open_sets
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.preparation.options import SegmentationPreparation
from bodycomp_jax.preparation.segmentation import prepare_segmentation_set

OF_SPLIT = {'train': (0, 2), 'val': (1,)}
NUMBERS = {'muscle': ('1',), 'subcutaneous_fat': ('2',), 'visceral_fat': ('3',)}


def prepare(cases, folder, **changes):
    options = {'size': cohort.SIDE, **NUMBERS} | changes
    prepare_segmentation_set(
        SegmentationPreparation(cases=cases, output_dir=str(folder), **options)
    )
    return folder


def arrays(folder, split):
    return [np.load(folder / f'{split}_{kind}.npy')[..., 0] for kind in ('images', 'masks')]


@pytest.fixture(scope='module')
def prepared(patients, tmp_path_factory):
    return prepare(patients.table, tmp_path_factory.mktemp('sets') / 'set')


def test_the_set_holds_the_pixels_and_labels_of_the_patients(patients, prepared):
    for split, numbers in OF_SPLIT.items():
        images, masks = arrays(prepared, split)
        trunks = [patients.trunks[i] for i in numbers]
        np.testing.assert_array_equal(images, np.concatenate([t.hu[1:] for t in trunks]))
        np.testing.assert_array_equal(masks, np.concatenate([t.labels[1:] for t in trunks]))


def test_the_table_says_which_row_is_which_slice(patients, prepared):
    rows = read_rows(prepared / 'slices.csv')
    assert list(rows[0]) == [
        'split', 'row', 'series', 'patient', 'z', 'row_spacing', 'column_spacing', 'file',
    ]  # fmt: skip
    for split, numbers in OF_SPLIT.items():
        of_split = [row for row in rows if row['split'] == split]
        assert [int(row['row']) for row in of_split] == list(range(len(of_split)))
        heights = np.concatenate([patients.trunks[i].z[1:] for i in numbers])
        assert [float(row['z']) for row in of_split] == heights.tolist()
        assert {float(row['row_spacing']) for row in of_split} == {cohort.PIXEL}
        assert len({row['patient'] for row in of_split}) == len(numbers)
        for row in of_split[: len(patients.trunks[numbers[0]].z) - 1]:
            assert f'ct{numbers[0]}/' in row['file']


def test_names_of_patients_are_nowhere_unless_they_are_kept(patients, prepared, tmp_path):
    tables = [(prepared / name).read_text() for name in ('slices.csv', 'series.csv')]
    assert not re.search('Miller|Smith|Jones', ''.join(tables))
    kept = prepare(patients.table, tmp_path / 'kept', patient_ids='keep')
    assert {row['patient'] for row in read_rows(kept / 'slices.csv')} == {
        'Miller', 'Smith', 'Jones',
    }  # fmt: skip


def test_the_account(patients, prepared):
    about = json.loads((prepared / 'dataset.json').read_text())
    assert about['flags']['size'] == cohort.SIDE
    for split, numbers in OF_SPLIT.items():
        labels = np.concatenate([patients.trunks[i].labels[1:] for i in numbers])
        assert about['splits'][split] == {
            'patients': len(numbers),
            'series': len(numbers),
            'slices': len(labels),
            'pixels muscle': (labels == 1).sum(),
            'pixels subcutaneous fat': (labels == 2).sum(),
            'pixels visceral fat': (labels == 3).sum(),
            'pixels not labelled': 0,
        }
    files = {str(p.relative_to(prepared)) for p in prepared.iterdir() if p.is_file()}
    assert files == {*about['sha256'], 'dataset.json'} - {'previews'}


def test_the_same_command_writes_the_same_bits(patients, prepared, tmp_path):
    again = prepare(patients.table, tmp_path / 'again')
    first, second = (json.loads((f / 'dataset.json').read_text()) for f in (prepared, again))
    assert first['sha256'] == second['sha256']
    assert (again / 'train_masks.npy').read_bytes() == (prepared / 'train_masks.npy').read_bytes()


@pytest.mark.parametrize('folds', [{}, {'folds': 3, 'fold': 1}])
def test_the_trainer_takes_it(prepared, folds):
    channels = {'compression_channels': (4, 8), 'decompression_channels': (4,)}
    config = from_values(SegmentationConfig, {'batch_size': 4, **channels, **folds})
    for dataset in open_sets(prepared, config):
        dataset.validate()


def test_the_split_does_not_depend_on_how_patients_are_named(changed, tmp_path):
    cases = changed({i: {'split': ''} for i in range(3)})
    for ids in ('hash', 'keep'):
        prepare(cases, tmp_path / ids, patient_ids=ids, seed=5)
    splits = [
        [r['split'] for r in read_rows(tmp_path / x / 'slices.csv')] for x in ('hash', 'keep')
    ]
    assert splits[0] == splits[1]


def test_slices_are_resized_and_their_spacing_with_them(patients, tmp_path):
    folder = prepare(patients.table, tmp_path / 'small', size=48)
    images, masks = arrays(folder, 'val')
    assert images.shape[1:] == masks.shape[1:] == (48, 48)
    row = read_rows(folder / 'slices.csv')[0]
    assert float(row['row_spacing']) == pytest.approx(cohort.PIXEL * cohort.SIDE / 48, rel=1e-5)
    areas, small = (
        (m > 0).sum() * pixel**2
        for m, pixel in (
            (patients.trunks[1].labels, cohort.PIXEL),
            (masks, float(row['row_spacing'])),
        )
    )
    assert small == pytest.approx(areas, rel=0.02)


def test_all_slices_are_also_those_of_background(changed, patients, tmp_path):
    one = changed(rows=patients.rows[2:])
    _, masks = arrays(prepare(one, tmp_path / 'all', slices='all'), 'train')
    np.testing.assert_array_equal(masks, patients.trunks[2].labels)


def test_slices_at_levels(patients, changed, tmp_path):
    levels = ('L3', 'T12')
    cases = changed(
        {
            i: {level: f'{t.levels[level]}' for level in levels}
            for i, t in enumerate(patients.trunks)
        }
    )
    folder = prepare(cases, tmp_path / 'set', slices='level', levels=levels)
    heights = [float(row['z']) for row in read_rows(folder / 'slices.csv')]
    expected = [
        trunk.z[np.abs(trunk.z - trunk.levels[level]).argmin()]
        for trunk in (patients.trunks[i] for i in (0, 2, 1))
        for level in levels
    ]
    assert heights == expected
    assert determined_options(folder) == {'levels': ['L3', 'T12']}


def test_a_level_far_from_every_slice_is_refused(changed, tmp_path):
    cases = changed({i: {'L3': '200' if i else '-50'} for i in range(3)})
    with pytest.raises(RunError, match='1 of 3 cases were left out'):
        prepare(cases, tmp_path / 'set', slices='level')
    (row,) = read_rows(tmp_path / 'set' / 'rejected.csv')
    assert 'L3 is at -50.0 mm, but the nearest slice at 0.0 mm' in row['reason']


def test_regions_become_tissues_and_what_is_not_labelled_stays_so(patients, changed, tmp_path):
    trunk = patients.trunks[2]
    labels = np.where(trunk.labels > 0, 1, trunk.labels)
    labels[:, 10:20] = 255
    labels[5] = 255
    cohort.write_nifti(patients.folder / 'regions.nii.gz', labels)
    cases = changed({2: {'mask': 'regions.nii.gz'}}, patients.rows)
    folder = prepare(cases, tmp_path / 'set', hu_limits='alberta')
    _, masks = arrays(folder, 'train')
    masks = masks[-len(trunk.z) + 2 :]
    kept = np.delete(np.arange(1, len(trunk.z)), 4)
    muscle = (trunk.labels > 0) & (trunk.hu >= -29) & (trunk.hu <= 150)
    expected = np.where(labels == 255, 255, muscle)
    np.testing.assert_array_equal(masks, expected[kept])


def test_cases_that_cannot_be_used_are_left_out_and_listed(changed, tmp_path, capsys):
    broken = tmp_path / 'broken.nii.gz'
    broken.write_bytes(b'\x1f\x8b nothing')
    (tmp_path / 'empty').mkdir()
    cases = changed({0: {'image': str(tmp_path / 'empty')}, 2: {'mask': str(broken)}})
    with pytest.raises(RunError, match=r'2 of 3 cases were left out, see .*rejected.csv'):
        prepare(cases, tmp_path / 'set')
    rejected = read_rows(tmp_path / 'set' / 'rejected.csv')
    assert [row['case'] for row in rejected] == ['0', '2']
    assert rejected[0]['reason'].startswith(f'{tmp_path}/empty: no axial CT series')
    assert rejected[1]['reason'].startswith(f'{broken}: ')
    assert capsys.readouterr().out.count('is left out') == 2
    assert (tmp_path / 'set' / 'val_images.npy').exists()
    prepare(cases, tmp_path / 'allowed', allow_rejected=True)


def test_a_tissue_that_no_label_is(changed, patients, tmp_path, capsys):
    cases = changed(rows=patients.rows[1:])
    prepare(cases, tmp_path / 'set', muscle=('3',), visceral_fat=('7',), background=('others',))
    warning = 'WARNING: no pixel of the set is visceral fat; check the flags'
    printed = capsys.readouterr().out
    assert warning in printed
    assert 'WARNING: --visceral_fat=7: no mask that was read has such a label' in printed
    assert '--muscle=3' not in printed


def test_the_same_series_twice_is_left_out(changed, patients, tmp_path):
    cases = changed(rows=[*patients.rows, patients.rows[1]])
    with pytest.raises(RunError, match='1 of 4'):
        prepare(cases, tmp_path / 'set')
    (row,) = read_rows(tmp_path / 'set' / 'rejected.csv')
    assert 'the same series as that of case 1; remove one' in row['reason']


def test_several_series_of_a_case_need_a_name(changed, patients, tmp_path, capsys):
    folder = str(patients.folder)
    one = {'image': folder, 'mask': 'mask2.nii.gz', 'patient': 'Jones', 'split': 'val'}
    with pytest.raises(RunError):
        prepare(changed(rows=[*patients.rows[:2], one]), tmp_path / 'set')
    (row,) = read_rows(tmp_path / 'set' / 'rejected.csv')
    assert 'give the folder of one, or its name in a column series' in row['reason']
    uids = [row['series'] for row in read_rows(tmp_path / 'set' / 'series.csv')]
    named = {i: {'image': folder, 'series': uid} for i, uid in enumerate(uids)}
    prepare(changed(named, patients.rows[:2]), tmp_path / 'named')
    skipped = read_rows(tmp_path / 'named' / 'skipped.csv')
    assert len({row['file'] for row in skipped}) == len(skipped)
    other = changed({0: named[0] | {'series': '1.2'}}, patients.rows[:1])
    with pytest.raises(InputError, match='no case can be used'):
        prepare(other, tmp_path / 'other')
    assert f'no series 1.2, but {uids[0]}' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('changes', 'options', 'message'),
    [
        ({}, {'visceral_fat': ()}, 'nothing says what the label 3'),
        (
            {i: {'patient': 'A', 'split': s} for i, s in ((0, 'val'), (1, 'train'))},
            {},
            'of one patient',
        ),
        ({i: {'image': '.', 'series': 'x'} for i in range(3)}, {}, 'no case can be used'),
        ({0: {'image': 'nowhere'}}, {}, 'row 0: the image .*nowhere does not exist'),
        ({}, {'labels': 'saros'}, 'its labels are regions'),
    ],
)
def test_nothing_is_written_where_the_input_is_wrong(changed, tmp_path, changes, options, message):
    with pytest.raises(InputError, match=message):
        prepare(changed(changes), tmp_path / 'set', **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({0: {'patient': 'A'}, 1: {'patient': 'A'}}, 'cases 0 and 1 are of one patient'),
        ({0: {'fold': '1'}}, 'case 1 has no fold, but others have one'),
    ],
)
def test_a_table_that_contradicts_itself_is_refused_at_once(changed, tmp_path, changes, message):
    unread = {i: {'mask': 'cases.csv'} for i in range(3)}
    cases = changed({i: unread[i] | changes.get(i, {}) for i in range(3)})
    with pytest.raises(InputError, match=message):
        prepare(cases, tmp_path / 'set')


def test_pictures_show_the_labels(prepared):
    with Image.open(prepared / 'previews' / 'train_000.png') as picture:
        pixels = np.asarray(picture).astype(int)
    colourful = np.ptp(pixels, axis=2) > 60
    assert colourful.mean() > 0.05


def test_folds_are_kept(changed, tmp_path):
    folds = {i: {'fold': f'{i % 2}', 'split': ''} for i in range(3)}
    folder = prepare(changed(folds), tmp_path / 'set')
    rows = read_rows(folder / 'slices.csv')
    assert {(row['split'], row['fold']) for row in rows} == {('val', '0'), ('train', '1')}


def test_nnunet_raw_data_needs_no_flags(patients, tmp_path):
    raw = tmp_path / 'raw'
    for name in ('imagesTr', 'labelsTr'):
        (raw / name).mkdir(parents=True)
    names = {'background': 0, 'Muscle': 2, 'subcutaneous fat': 1, 'visceral_fat': 3, 'ignore': 4}
    (raw / 'dataset.json').write_text(json.dumps({'labels': names, 'file_ending': '.nii.gz'}))
    for i, trunk in enumerate(patients.trunks[:2]):
        labels = np.array([0, 2, 1, 3], np.uint8)[trunk.labels]
        labels[3, :5] = 4
        cohort.write_nifti(raw / 'imagesTr' / f'c{i}_0000.nii.gz', trunk.hu)
        cohort.write_nifti(raw / 'labelsTr' / f'c{i}.nii.gz', labels)
    none = dict.fromkeys(NUMBERS, ())
    folder = prepare(str(raw), tmp_path / 'set', **none)
    splits = {row['image'][-13:-12]: row['split'] for row in read_rows(folder / 'series.csv')}
    for i, trunk in enumerate(patients.trunks[:2]):
        images, masks = arrays(folder, splits[str(i)])
        expected = trunk.labels[1:].copy()
        expected[2, :5] = 255
        np.testing.assert_array_equal(images, trunk.hu[1:])
        np.testing.assert_array_equal(masks, expected)


def test_saros_needs_only_hu_limits(patients, tmp_path):
    raw, split_of = tmp_path / 'saros', {'case_000': 'fold-1', 'case_001': 'fold-2'}
    for name, trunk in zip(split_of, patients.trunks, strict=False):
        (raw / name).mkdir(parents=True)
        regions = np.array([13, 2, 1, 3], np.uint8)[trunk.labels]
        regions[np.arange(len(regions)) % 5 != 2] = 255
        cohort.write_nifti(raw / name / 'image.nii.gz', trunk.hu)
        cohort.write_nifti(raw / name / 'body-regions.nii.gz', regions)
    (raw / 'case_002').mkdir()  # of a collection that not everybody may download
    shutil.copy(raw / 'case_000' / 'body-regions.nii.gz', raw / 'case_002')
    rows = [{'id': name, 'split': split} for name, split in split_of.items()]
    cohort.write_table(raw / 'info.csv', rows)
    none = dict.fromkeys(NUMBERS, ())
    with pytest.raises(InputError, match='add --hu_limits'):
        prepare(str(raw), tmp_path / 'set', **none)
    with pytest.raises(RunError, match='1 of 3 cases were left out'):
        prepare(str(raw), tmp_path / 'set', hu_limits='alberta', **none)
    folder = tmp_path / 'set'
    for i, split in enumerate(('val', 'train')):
        trunk = patients.trunks[i]
        labels, hu = trunk.labels[2::5], trunk.hu[2::5]
        limits = np.array([[0, 0], [-29, 150], [-190, -30], [-150, -50]])[labels]
        inside = (hu >= limits[..., 0]) & (hu <= limits[..., 1])
        np.testing.assert_array_equal(arrays(folder, split)[1], np.where(inside, labels, 0))
