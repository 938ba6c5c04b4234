"""The evaluation of levels: positions that are too high by known distances."""

import json

import numpy as np
import pytest
from fake_candidates import answer_with, configuration, selector
from helpers import read_rows
from PIL import Image

from bodycomp_jax.data.slice_selection import write_split_table
from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.evaluate import evaluate_candidates

SPACING = 5.0  # mm
OFFSETS = np.arange(-60.0, 61, SPACING)


def pictures(offsets):
    """A slice for each offset, whose brightest pixel tells it."""
    for mm in offsets:
        picture = np.zeros((256, 256), np.uint8)
        picture[:, 128:] = 100 + mm
        yield picture


def write_set(folder, names, *, with_z=True):
    """A set of the slice-selection network with a series for each name."""
    folder.mkdir()
    for split in ('train', 'val'):
        offsets = np.tile(OFFSETS, len(names))
        table = {
            'series': [name for name in names for _ in OFFSETS],
            'patient': [f'patient of {name}' for name in names for _ in OFFSETS],
            'ZOffset_L3': [f'{mm:.1f}' for mm in offsets],
        }
        if with_z:
            table['z'] = [f'{500 + mm:.3f}' for mm in offsets]
        write_split_table(folder, split, pictures(offsets), table)
    return folder


def write_labelled_slices(folder, series):
    """A segmentation set of some slices of a series: areas that grow with z."""
    folder.mkdir()
    z = 500 + np.arange(-10.0, 11, SPACING)
    masks = np.zeros((len(z), 8, 8), np.uint8)
    for i in range(len(z)):
        masks[i, : i + 1] = 1
    np.save(folder / 'val_images.npy', np.zeros(masks.shape, np.int16))
    np.save(folder / 'val_masks.npy', masks)
    lines = ['split,row,patient,series,z,row_spacing,column_spacing']
    lines += [f'val,{i},p,{series},{mm:.3f},5,5' for i, mm in enumerate(z)]
    (folder / 'slices.csv').write_text('\n'.join(lines) + '\n')
    return folder


def evaluate(data_dir, output_dir, **options):
    evaluate_candidates(configuration(data_dir, output_dir, **options))
    return json.loads((output_dir / 'summary.json').read_text())


@pytest.fixture
def networks(monkeypatch):
    found = {'exact': selector(0), 'slice': selector(5), 'vertebra': selector(35)}
    answer_with(monkeypatch, found)
    return found


def test_errors_are_those_of_the_shift(networks, tmp_path):
    data = write_set(tmp_path / 'data', [f's{i}' for i in range(7)])
    found = evaluate(data, tmp_path / 'out', models=tuple(networks))
    rows = read_rows(tmp_path / 'out' / 'examples.csv')
    assert len(rows) == 3 * 7
    by_name = {row['candidate']: row for row in rows}
    for name, mm, within, next_to in (
        ('exact', 0, '1', '1'),
        ('slice', 5, '1', '1'),
        ('vertebra', 35, '0', '0'),
    ):
        row = by_name[name]
        assert float(row['L3_error_mm']) == pytest.approx(mm, abs=0.2)
        assert (row['L3_within_10mm'], row['L3_within_one_slice']) == (within, next_to)
    assert found['verdict'][1].startswith('exact is better than vertebra for L3 by 35.0')
    assert '7 patients' in found['verdict'][1]
    training = found['as_in_training']['vertebra']
    assert training['level_error_mm_L3'] == pytest.approx(
        found['metrics']['L3_absolute_error_mm']['means']['vertebra']['mean'], rel=1e-6
    )
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert page.count('<img') == 3 * 7  # the curves
    assert 'L3: share of the series by position error' in page
    with Image.open(next((tmp_path / 'out' / 'pictures').iterdir())) as picture:
        assert picture.size == (800, 360)


def test_areas_at_the_found_and_at_the_true_slice(networks, tmp_path):
    data = write_set(tmp_path / 'data', ['a', 'b'])
    labelled = str(write_labelled_slices(tmp_path / 'slices', 'a'))
    models = ('slice', 'vertebra')
    found = evaluate(data, tmp_path / 'out', models=models, labelled_slices=labelled)
    rows = read_rows(tmp_path / 'out' / 'examples.csv')
    areas = {
        (row['series'], row['candidate']): (
            row['L3_muscle_found_cm2'],
            row['L3_muscle_true_cm2'],
        )
        for row in rows
    }
    assert areas['a', 'slice'] == ('8', '6')  # rows of eight pixels of 0.25 cm2
    assert areas['a', 'vertebra'] == ('', '6')
    assert areas['b', 'slice'] == ('', '')
    assert found['agreement']['L3_muscle_found_cm2']['slice'] is None  # of one patient


def test_a_series_without_the_level_has_no_error(networks, tmp_path):
    data = write_set(tmp_path / 'data', ['a'])
    table = data / 'meta' / 'val.csv'
    lines = table.read_text().splitlines()
    (data / 'meta' / 'val.csv').write_text('\n'.join(lines[:10]) + '\n')
    for path in sorted((data / 'images' / 'val').iterdir())[9:]:
        path.unlink()
    found = evaluate(data, tmp_path / 'out', models=('exact',))
    assert found['verdict'] == ['L3: nothing to measure in these slices.']


def test_sets_that_do_not_fit(networks, tmp_path):
    data = write_set(tmp_path / 'data', ['a'], with_z=False)
    labelled = write_labelled_slices(tmp_path / 'slices', 'a')
    options = {'models': ('exact',), 'labelled_slices': str(labelled)}
    with pytest.raises(InputError, match=r'no column z in meta'):
        evaluate(data, tmp_path / 'out', **options)
    (labelled / 'slices.csv').write_text(
        (labelled / 'slices.csv').read_text().replace(',a,', ',other,')
    )
    with pytest.raises(InputError, match=r'none of its series is in .* such as a; prepare both'):
        evaluate(data, tmp_path / 'out', **options)
    with pytest.raises(InputError, match='--pixel_mm has no effect on slice-selection networks'):
        evaluate(data, tmp_path / 'out', models=('exact',), pixel_mm=1.0)
