"""Training sets of synthetic subjects: alike, whole, the same after an interruption."""

import json

import numpy as np
import pytest
from helpers import read_rows

from bodycomp_jax.config import DenseNetConfig, SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.data import segmentation, slice_selection
from bodycomp_jax.errors import InputError
from bodycomp_jax.preparation.options import PreparationConfig, SegmentationPreparation
from bodycomp_jax.preparation.segmentation import prepare_segmentation_set
from bodycomp_jax.preparation.slice_selection import prepare_slice_selection_set
from bodycomp_jax.preparation.synthetic import make
from bodycomp_jax.preparation.synthetic.options import SyntheticConfig

SUBJECTS, ALL = 3, 100  # more slices than are lumbar
LEVELS = ('L3', 'T12')
SPLITS = ('train', 'val')


def config_of(folder, **changes):
    options = {
        'subjects': SUBJECTS,
        'size': 64,
        'slice_spacing': 30.0,
        'slices': 2,
        'levels': LEVELS,
        'workers': 1,
    }
    return SyntheticConfig(output_dir=str(folder), **options | changes)


def make_sets(folder, **changes):
    make.make_synthetic(config_of(folder, **changes))
    return folder


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return make_sets(tmp_path_factory.mktemp('made') / 'sets', dicom=True)


def contents(folder):
    """{path: bytes} of all files."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def images_of(folder):
    return np.concatenate([np.load(folder / f'segmentation/{s}_images.npy') for s in SPLITS])


def test_the_trainers_accept_both_sets(made, tmp_path):
    for data in segmentation.open_sets(made / 'segmentation', SegmentationConfig(batch_size=4)):
        data.validate()
    config = SliceSelectionConfig(network=DenseNetConfig(levels=LEVELS), batch_size=4)
    for data in slice_selection.open_sets(
        made / 'slice_selection', config, tmp_path, lambda items, count, title: items
    ):
        data.validate()


def test_both_sets_have_the_same_subjects_and_no_subject_is_in_both_splits(made):
    rows = read_rows(made / 'segmentation/slices.csv')
    of_slices = {s: {r['patient'] for r in rows if r['split'] == s} for s in SPLITS}
    of_levels = {
        s: {r['patient'] for r in read_rows(made / f'slice_selection/meta/{s}.csv')} for s in SPLITS
    }
    assert of_slices == of_levels
    assert sorted(map(len, of_slices.values())) == [1, 2]
    assert not of_slices['train'] & of_slices['val']
    assert len(rows) == 2 * SUBJECTS
    assert [r['patient'] for r in rows[:2]] == [rows[0]['patient']] * 2


def test_the_dicom_files_are_prepared_as_the_same_sets(tmp_path):
    made = make_sets(tmp_path / 'made', dicom=True, slices=ALL)
    cases, options = str(made / 'dicom/cases.csv'), {'patient_ids': 'keep', 'levels': LEVELS}
    slices, levels = tmp_path / 'slices', tmp_path / 'levels'
    prepare_segmentation_set(
        SegmentationPreparation(cases=cases, output_dir=str(slices), size=64, **options)
    )
    prepare_slice_selection_set(PreparationConfig(cases=cases, output_dir=str(levels), **options))
    files = contents(made)
    for prepared, name in ((slices, 'segmentation'), (levels, 'slice_selection')):
        for path, content in contents(prepared).items():
            if path.endswith(('.npy', '.png')) or path.startswith('meta'):
                assert content == files[f'{name}/{path}'], path
    assert len([path for path in files if path.startswith('dicom/scans')]) == len(
        [path for path in files if path.startswith('slice_selection/images')]
    )


def test_levels_of_the_measuring_program(made):
    rows = read_rows(made / 'dicom/levels.csv')
    cases = read_rows(made / 'dicom/cases.csv')
    l3 = [row['z_mm'] for row in rows if row['level'] == 'L3']
    assert l3 == [case['L3'] for case in cases]
    assert [f'masks/{row["series"]}.dcm' for row in rows if row['level'] == 'L3'] == [
        case['mask'] for case in cases
    ]


def test_a_run_whose_drawing_fails_continues_where_it_was(made, tmp_path, capsys):
    scans = tmp_path / 'sets/dicom/scans'
    scans.mkdir(parents=True)
    in_the_way = scans / max(path.name for path in (made / 'dicom/scans').iterdir())
    in_the_way.write_text('')
    with pytest.raises(FileExistsError):
        make_sets(tmp_path / 'sets', dicom=True)
    in_the_way.unlink()
    make_sets(tmp_path / 'sets', dicom=True)
    assert f'{SUBJECTS - 1} of {SUBJECTS} subjects are drawn already' in capsys.readouterr().out
    assert contents(tmp_path / 'sets') == contents(made)


def test_a_run_whose_writing_fails_continues_where_it_was(made, tmp_path, monkeypatch, capsys):
    write = make.WRITERS['slice_selection']

    def fail(folder, parts_of):
        write(folder, parts_of)
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setitem(make.WRITERS, 'slice_selection', fail)
        with pytest.raises(OSError, match='No space left'):
            make_sets(tmp_path / 'sets', dicom=True)
    assert not (tmp_path / 'sets/slice_selection').exists()
    make_sets(tmp_path / 'sets', dicom=True)
    assert f'{SUBJECTS} of {SUBJECTS} subjects are drawn already' in capsys.readouterr().out
    assert contents(tmp_path / 'sets') == contents(made)


def test_a_finished_run_says_so_and_changes_nothing(made, capsys):
    before = contents(made)
    make_sets(made, dicom=True)
    assert 'all is written already' in capsys.readouterr().out
    assert contents(made) == before


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'size': 32}, 'was begun with --size=64, not --size=32'),
        ({'levels': ('L3',)}, 'was begun with --levels=L3,T12, not --levels=L3;'),
        ({'dicom': False}, 'was begun with --dicom, not --nodicom'),
        ({'subjects': 4}, 'was begun with --subjects=3, not --subjects=4'),
    ],
)
def test_another_command_line_is_refused(made, changes, message):
    with pytest.raises(InputError, match=message):
        make_sets(made, **{'dicom': True} | changes)


def test_other_versions_do_not_continue_a_run(tmp_path, monkeypatch):
    folder = tmp_path / 'sets'
    with monkeypatch.context() as patch:
        patch.setattr(make, 'versions', lambda packages: {'numpy': '1.0'})
        patch.setattr(make, '_draw', lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make_sets(folder)
    with pytest.raises(InputError, match=r'was begun with .*numpy 1\.0, not|bodycomp_jax None'):
        make_sets(folder)


def test_what_others_wrote_is_kept(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(InputError, match=r'holds notes\.txt; remove it, or choose another'):
        make_sets(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


@pytest.mark.parametrize('content', ['', '[]', '{"slices": 1}', '{"slices": {"a": [1, 2, 3]}}'])
def test_a_part_that_is_damaged_is_named(tmp_path, content):
    parts = tmp_path / 'sets/parts'
    parts.mkdir(parents=True)
    (parts / '000001.json').write_text(content)
    with pytest.raises(InputError, match=r'000001\.json: '):
        make_sets(tmp_path / 'sets')


@pytest.mark.parametrize('content', ['{}', '{"flags": 3}', '{"finished": true}', '[1]', 'x'])
def test_a_state_that_is_damaged_is_an_error(tmp_path, content):
    (tmp_path / 'synthetic.json').write_text(content)
    with pytest.raises(InputError, match=str(tmp_path)):
        make_sets(tmp_path)


def test_too_small_a_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(make, 'free_bytes', lambda folder: 8e6)
    with pytest.raises(InputError, match=r'needs about [\d.]+ GB, but only 0\.0 GB are free'):
        make_sets(tmp_path / 'sets', size=512)
    assert contents(tmp_path) == {}
    make_sets(tmp_path / 'sets', subjects=2, slices=1, size=32)


def test_another_seed_draws_other_subjects(made, tmp_path):
    other = make_sets(tmp_path / 'sets', seed=1)
    images = [images_of(folder) for folder in (made, other)]
    assert not any((a == b).all() for a in images[0] for b in images[1])
    patients = [
        {row['patient'] for row in read_rows(folder / 'segmentation/slices.csv')}
        for folder in (made, other)
    ]
    assert not patients[0] & patients[1]


def test_the_account_names_the_point_of_the_levels(made):
    account = json.loads((made / 'slice_selection/dataset.json').read_text())
    assert account['flags']['reference'] == 'middle'
    assert account['splits']['train']['patients'] + account['splits']['val']['patients'] == SUBJECTS
