"""A folder of scans to tables."""

import json
import shutil
import types

import numpy as np
import pytest
import scan_files
from helpers import read_rows

from bodycomp_jax.data.masks.labels import UnexplainedLabelError
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.estimation import cohort
from bodycomp_jax.estimation.cohort import estimate_cohort
from bodycomp_jax.estimation.options import EstimationConfig

RESULTS = ('results.csv', 'results.json', 'columns.json', 'report.html')


@pytest.fixture
def run(scans, networks, tmp_path):
    """Measures the scans with these flags; returns the output folder.

    That the damaged series fails is an error; what the tables say of it is tested here.
    """

    def estimate(name='out', **flags):
        defaults = {'segmentation': 'tissues', 'slice_selection': 'levels', 'size': 32}
        if 'masks' in flags:
            defaults = {}
        if flags.get('single_slices'):
            del defaults['slice_selection']
        out = tmp_path / name
        flags = {'scans': str(scans), 'output_dir': str(out)} | defaults | flags
        try:
            estimate_cohort(EstimationConfig(**flags))
        except RunError as error:
            if 'tries them again' not in str(error):
                raise
        return out

    return estimate


def rows(folder):
    return read_rows(folder / 'results.csv')


def results(folder):
    """{(patient's folder, level): status}."""
    return {(row['file'].split('/')[-2], row['level']): row['status'] for row in rows(folder)}


def test_every_series_has_a_row_for_each_level(run, scans, capsys):
    scan_files.write_slice(scans / 'localizer.dcm', ImageType=['ORIGINAL', 'PRIMARY', 'LOCALIZER'])
    out = run()
    assert results(out) == {
        ('a', 'L3'): 'measured',
        ('a', 'T12'): 'measured',
        ('b', 'L3'): 'level_outside_scan',
        ('b', 'T12'): 'measured',
        ('c', ''): 'failed',
        ('scans', ''): 'not_taken',
    }
    outside = next(row for row in rows(out) if row['status'] == 'level_outside_scan')
    assert (outside['level_z_mm'], float(outside['level_confidence']) > 0.9) == ('', True)
    printed = capsys.readouterr().out
    assert 'WARNING: series 1.2.31' in printed
    assert '15000 HU' in printed
    assert f'written: {out}/results.csv' in printed


@pytest.mark.parametrize('shard', [None, '1/1', '3/3'])
def test_a_series_that_fails_is_an_error_once_all_is_written(scans, networks, tmp_path, shard):
    config = EstimationConfig(
        scans=str(scans),
        output_dir=str(tmp_path),
        segmentation='tissues',
        slice_selection='levels',
        size=32,
        **({'shard': shard} if shard else {}),
    )
    with pytest.raises(RunError, match=r'1 series could not be measured, .* tries them again'):
        estimate_cohort(config)
    assert (tmp_path / 'report.html').exists() == (shard != '3/3')


def test_a_row_says_what_was_measured_where(run, scans):
    first, second, *_ = rows(run())
    assert list(first)[:4] == ['status', 'reason', 'series', 'level']
    assert (first['patient_id'], first['series'], first['series_instance_uid']) == (
        'P1', '1.2.11', '1.2.11',
    )  # fmt: skip
    assert first['file'] == str(scans / 'a' / '10.dcm')
    assert first['sop_instance_uid'] == '1.2.1.10'
    assert (first['slices'], first['slice'], first['z_mm']) == ('30', '10', '500')
    assert float(first['level_z_mm']) == pytest.approx(500, abs=0.5)
    assert float(first['level_confidence']) > 0.95
    assert (first['level_reference'], first['flags']) == ('middle', '')
    assert float(first['L3_muscle_area_cm2']) == 81
    assert float(first['L3_smi_cm2_m2']) == pytest.approx(81 / 1.6**2, rel=1e-5)
    assert first['T12_muscle_area_cm2'] == ''
    assert second['L3_muscle_area_cm2'] == ''
    assert second['T12_muscle_area_cm2'] == '81'
    assert first['visceral_fat_hu_limits'] == '-150..-50'
    assert first['L3_visceral_fat_area_cm2'] == '0'
    assert first['L3_visceral_fat_mean_hu'] == ''


def test_columns_have_units_and_json_the_same_rows(run):
    out = run()
    units = json.loads((out / 'columns.json').read_text())
    about = json.loads((out / 'results.json').read_text())
    assert list(units) == list(rows(out)[0])
    assert units['L3_muscle_area_cm2']['unit'] == 'cm2'
    assert units['tube_current_mA']['unit'] == 'mA'
    assert about['flags']['size'] == 32
    assert about['rows'][0]['L3_muscle_area_cm2'] == 81.0
    assert about['rows'][0]['L3_visceral_fat_mean_hu'] is None
    assert [row['status'] for row in about['rows']] == [row['status'] for row in rows(out)]


def test_a_killed_run_continues_to_the_same_bits(run, networks, monkeypatch):
    expected = run('whole')

    class Killed(BaseException):
        pass

    method_of = cohort.method_of

    def dies_at_the_third(*arguments, **options):
        method, seen = method_of(*arguments, **options), []

        def rows_of(series):
            seen.append(series)
            if len(seen) == 3:
                raise Killed
            return method.rows(series)

        return types.SimpleNamespace(rows=rows_of, table=None)

    monkeypatch.setattr(cohort, 'method_of', dies_at_the_third)
    monkeypatch.setattr('bodycomp_jax.data.batches.BATCHES_AHEAD', 1)
    with pytest.raises(Killed):
        run('killed')
    monkeypatch.setattr(cohort, 'method_of', method_of)
    networks.tissues.seen = 0
    out = run('killed')
    assert networks.tissues.seen == 0  # only the damaged series was left
    for name in RESULTS:
        assert (out / name).read_bytes() == (expected / name).read_bytes()


def test_nothing_is_measured_again_unless_it_is_to_be_overwritten(run, networks, scans):
    shutil.rmtree(scans / 'c')
    first = (run() / 'results.csv').read_bytes()
    networks.count = networks.tissues.seen = 0
    assert (run() / 'results.csv').read_bytes() == first
    assert networks.count == 0
    with pytest.raises(InputError, match='was begun with size=32, not 64'):
        run(size=64)
    run(size=64, overwrite=True)
    assert networks.tissues.seen == 3


def test_files_that_are_gone_are_named_and_no_others_replaced(run, networks, capsys):
    out = run()
    lost, corrected = sorted((out / 'segmentations').iterdir())[:2]
    lost.unlink()
    corrected.write_bytes(b'by hand')
    networks.tissues.seen = 0
    run()
    assert networks.tissues.seen == 0
    assert corrected.read_bytes() == b'by hand'
    text = f'1 files of the results are gone (segmentations/{lost.name})'
    assert text in capsys.readouterr().out


@pytest.mark.parametrize('kind', ['segmentation', 'slice_selection'])
def test_a_network_that_was_trained_again_is_not_mixed_with_the_first(run, networks, kind):
    out = run()
    network = {'segmentation': 'tissues', 'slice_selection': 'levels'}[kind]
    networks.trained[network] = 'second'
    with pytest.raises(InputError, match=f"begun with {kind}_fingerprint='first', not 'second'"):
        run()
    run(overwrite=True)
    about = json.loads((out / 'results.json').read_text())
    assert about['flags'][f'{kind}_fingerprint'] == 'second'


@pytest.mark.parametrize(
    ('flag', 'text'),
    [
        ('levels_table', 'series,level,z_mm\n1.2.11,L3,450\n'),
        ('patients', 'patient_id,height_cm\nP1,200\n'),
    ],
)
def test_a_table_that_was_edited_is_another_run(run, tmp_path, flag, text):
    path = tmp_path / 'table.csv'
    path.write_text(text)
    run(**{flag: str(path)})
    run(**{flag: str(path)})
    path.write_text(text.replace('50', '60').replace('200', '190'))
    with pytest.raises(InputError, match=f'begun with {flag}_fingerprint='):
        run(**{flag: str(path)})


def test_what_cannot_be_used_leaves_the_results(run):
    out = run()
    before = {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
    for mistake in ('patients', 'exclude', 'scans'):
        with pytest.raises(InputError, match='nowhere'):
            run(overwrite=True, **{mistake: 'nowhere'})
    assert {path: path.read_bytes() for path in out.rglob('*') if path.is_file()} == before


@pytest.mark.parametrize(
    ('trained', 'flagged'),
    [((), []), (('L3',), ['T12']), (('L3', 'T12'), []), (('L1',), ['L3', 'T12'])],
)
def test_levels_on_which_the_network_was_not_trained_are_flagged(run, networks, trained, flagged):
    networks.tissues.config.levels = trained
    found = [row for row in rows(run()) if 'level_not_trained' in row['flags'].split(';')]
    assert sorted({row['level'] for row in found}) == flagged


def test_parts_of_a_job_are_merged_to_the_same_bits(run, networks, scans):
    shutil.rmtree(scans / 'c')
    expected = run('whole')
    for part in ('2/2', '1/2'):
        out = run('parts', shard=part)
        assert not (out / 'results.csv').exists()
    networks.count = 0
    run('parts')
    assert networks.count == 0
    for name in RESULTS:
        assert (out / name).read_bytes() == (expected / name).read_bytes()


def test_the_best_series_of_a_study_is_measured(run, scans):
    for name, thickness in (('a', 1), ('b', 5)):
        for path in (scans / name).iterdir():
            header = scan_files.pydicom.dcmread(path)
            header.StudyInstanceUID, header.SliceThickness = '1.9', thickness
            header.save_as(path)
    found = rows(run(levels=('T12',)))
    assert [row['status'] for row in found] == ['not_chosen', 'measured', 'failed']
    better = '1.2.21 (24 slices of 5 mm, kernel unknown) of the same study is measured'
    assert found[0]['reason'].startswith(better)
    every = rows(run('all', levels=('T12',), all_series=True))
    assert [row['status'] for row in every] == ['measured', 'measured', 'failed']


def test_single_slices_are_measured_as_they_are(run, scans):
    shutil.rmtree(scans / 'c')
    found = rows(run(single_slices=True))
    assert {row['level'] for row in found} == {'slice'}
    assert len(found) == 30 + 24
    assert float(found[0]['slice_muscle_area_cm2']) == 81


def test_a_table_of_levels_overrules_the_network(run, tmp_path, capsys):
    path = tmp_path / 'levels.csv'
    path.write_text('series,level,z_mm,file\n1.2.11,L3,450,\n1.2.21,L3,,b/3.dcm\nother,L3,1,\n')
    found = rows(run(levels_table=str(path), levels=('L3',)))
    assert [(row['status'], row['z_mm']) for row in found[:2]] == [
        ('measured', '450'), ('measured', '590'),
    ]  # fmt: skip
    assert found[0]['level_z_mm'] == ''
    assert 'has no series other; name them as in results.csv' in capsys.readouterr().out
    path.write_text('series,level,z_mm\n1.2.11,L1,450\n')
    alone = rows(run('alone', levels_table=str(path), slice_selection=None))
    assert [row['status'] for row in alone] == ['measured', 'no_level', 'no_level']


def test_results_are_a_table_of_levels(run, tmp_path):
    first = run('first', levels=('L3',))
    again = run('again', levels=('L3',), levels_table=str(first / 'results.csv'))
    assert rows(again)[0]['z_mm'] == rows(first)[0]['z_mm']


def test_masks_are_measured_instead(run, tmp_path, capsys):
    masks = tmp_path / 'masks' / '1.2.11'
    masks.mkdir(parents=True)
    labels = np.zeros((24, 32), np.uint8)
    labels[:2] = 1
    np.save(masks / '10.npy', labels)
    flags = {'masks': str(masks.parent), 'muscle': ('1',)}
    found = rows(run(**flags))
    assert [row['status'] for row in found] == ['measured', 'no_mask', 'no_mask']
    assert (found[0]['level'], found[0]['slice']) == ('slice', '10')
    assert float(found[0]['slice_muscle_area_cm2']) == 64
    run('misspelt', masks=str(masks.parent), muscle=('1', 'Muscel'), background=('others',))
    assert 'WARNING: --muscle=Muscel: no mask that was read has such' in capsys.readouterr().out
    with pytest.raises(UnexplainedLabelError, match='nothing says what the label 1 means'):
        run('unexplained', masks=str(masks.parent))
    at_level = rows(run('level', slice_selection='levels', levels=('L3',), **flags))
    assert float(at_level[0]['L3_muscle_area_cm2']) == 64


def test_a_slab_has_a_row_for_each_slice_and_one_for_their_mean(run, scans):
    for name in 'bc':
        shutil.rmtree(scans / name)
    wider = np.full((24, 32), -1000, np.int16)
    wider[:, :11], wider[0, 0] = 60, 510
    path = scans / 'a' / '11.dcm'
    header = scan_files.pydicom.dcmread(path)
    header.PixelData = (wider + 24).tobytes()
    header.save_as(path)
    out = run(levels=('L3',), slab_mm=20.0)
    found = rows(out)
    assert [(row['status'], row['slice']) for row in found] == [
        ('measured', '10'), ('in_slab', '9'), ('in_slab', '11'), ('slab_mean', ''),
    ]  # fmt: skip
    areas = [float(row['L3_muscle_area_cm2']) for row in found]
    assert areas[:3] == [81, 81, 264]
    assert areas[3] == pytest.approx(142)
    again = run(
        'again',
        levels=('L3',),
        levels_table=str(run.__closure__ and scans.parent / 'out' / 'results.csv'),
    )
    assert rows(again)[0]['slice'] == '10'


def test_heights_of_a_table_go_before_those_in_files(run, tmp_path, capsys):
    path = tmp_path / 'patients.csv'
    path.write_text('patient_id,height_cm\nP1,200\n1,150\n')
    first, _, _, second, *_ = rows(run(patients=str(path)))
    assert (first['height_m'], float(first['L3_smi_cm2_m2'])) == ('2', 81 / 4)
    assert second['height_m'] == ''
    assert "patients.csv: no scan has the PatientID '1'; write it" in capsys.readouterr().out


@pytest.mark.parametrize('kind', ['segmentation', 'slice_selection'])
def test_networks_of_the_other_kind_are_refused(run, kind):
    other = {'segmentation': 'levels', 'slice_selection': 'tissues'}[kind]
    message = rf'--{kind}={other}: a .* trained by bin/train_{kind}.py'
    with pytest.raises(InputError, match=message):
        run(**{kind: other})


def test_what_cannot_be_measured_at_all(run, scans, tmp_path):
    with pytest.raises(InputError, match='--size=60: the network takes multiples of 8'):
        run(size=60)
    for name in 'ab':
        shutil.rmtree(scans / name)
    with pytest.raises(RunError, match=r'nothing could be measured; .*results.csv says why'):
        run()
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match=r'empty: no axial CT series \(no files\)'):
        run('other', scans=str(tmp_path / 'empty'))
    with pytest.raises(InputError, match='nowhere: no such file or folder; check the path'):
        run('other', scans='nowhere')


def test_files_of_each_slice_are_named_in_its_row(run, networks, scans):
    out = run(nifti=True, png=True, sr=True)
    files = {path.relative_to(out).as_posix() for path in out.glob('*/*') if path.is_file()}
    measured = ('1.2.11_L3', '1.2.11_T12', '1.2.21_T12')
    assert files == {
        *(f'segmentations/{name}.dcm' for name in measured),
        *(f'nifti/{name}.nii.gz' for name in measured),
        *(f'png/{name}.png' for name in measured),
        *(f'sr/{name}.dcm' for name in measured),
        *(f'previews/{name}.jpg' for name in (*measured, '1.2.21_L3')),
    }
    found = rows(out)
    assert [row['segmentation'] for row in found] == [
        'segmentations/1.2.11_L3.dcm', 'segmentations/1.2.11_T12.dcm',
        'segmentations/1.2.21_T12.dcm', '', '',
    ]  # fmt: skip
    assert found[3]['preview'] == 'previews/1.2.21_L3.jpg'
    page = (out / 'report.html').read_text()
    assert all(row['series'] in page for row in found)
    assert not any(row['patient_id'] in name for row in found[:4] for name in files)
    made = scan_files.pydicom.dcmread(out / 'segmentations' / '1.2.11_L3.dcm')
    algorithm = made.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmParameters == 'model=tissues'
    assert page.count('id="picture-') == 4
    again = rows(run('again', masks=str(out / 'segmentations')))
    assert [row['slice'] for row in again[:3]] == ['10', '19', '3']
    assert {row['slice_muscle_area_cm2'] for row in again[:3]} == {'81'}
    with pytest.raises(InputError, match=r'files in the output folder .* are written by this run'):
        run(masks=str(out / 'segmentations'))


def test_slices_that_are_rated_bad_have_no_numbers(run, networks, tmp_path, capsys):
    flags = {'levels': ('L3',), 'slab_mm': 20.0}
    out = run(**flags)
    ratings = tmp_path / 'ratings.csv'
    ratings.write_text('series,level,slice,rating\n1.2.11,L3,10,bad\n')
    networks.tissues.seen = 0
    found = rows(run(exclude=str(ratings), **flags))
    assert networks.tissues.seen == 0
    assert [row['status'] for row in found[:4]] == ['excluded'] * 4
    assert found[0]['reason'] == f'rated bad in {ratings}'
    assert found[0]['preview'] == 'previews/1.2.11_L3.jpg'
    assert found[0]['L3_muscle_area_cm2'] == ''
    assert rows(run(**flags))[0]['status'] == 'measured'
    assert (out / 'segmentations' / '1.2.11_L3_9.dcm').exists()
    ratings.write_text('series,level,slice,rating\n1.2.11,L3,11,bad\n1.2.99,L3,1,bad\n')
    capsys.readouterr()
    found = rows(run(exclude=str(ratings), **flags))
    assert [row['status'] for row in found[:4]] == [
        'measured', 'in_slab', 'excluded', 'excluded',
    ]  # fmt: skip
    assert 'no row of the results is of 1.2.99 L3 1' in capsys.readouterr().out
