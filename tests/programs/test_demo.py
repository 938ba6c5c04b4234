"""The demo: its training sets and scans, the commands it runs, and what it prints."""

import csv
import importlib.util
import re
import sys
import types

import numpy as np
import pytest

from bodycomp_jax import ct, find_series
from bodycomp_jax.config import RunConfig, SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.data import phantom
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.estimation.options import EstimationConfig
from bodycomp_jax.programs import demo
from bodycomp_jax.runtime import flags

CONFIGS = {
    'train_segmentation': (RunConfig, SegmentationConfig),
    'train_slice_selection': (RunConfig, SliceSelectionConfig),
    'estimate': (EstimationConfig,),
}
SIDE = 64


@pytest.fixture
def small(monkeypatch):
    """Few subjects of few slices."""
    for name, value in {'TRAIN': 2, 'VAL': 1, 'NEW': 2, 'SIDE': SIDE, 'NEW_SPACING': 20.0}.items():
        monkeypatch.setattr(demo, name, value)


@pytest.fixture
def started(monkeypatch):
    """The commands that would have been started, each of which would succeed."""
    commands = []
    monkeypatch.setattr(
        demo.subprocess,
        'run',
        lambda command, check: commands.append(command) or types.SimpleNamespace(returncode=0),
    )
    return commands


def test_both_networks_see_the_same_subjects(small, tmp_path):
    demo._write_sets(tmp_path)
    for split, seeds in (('train', (0, 1)), ('val', (2,))):
        with open(tmp_path / 'trunks' / 'meta' / f'{split}.csv', newline='') as file:
            series = {row['series'] for row in csv.DictReader(file)}
        assert series == {f'subject_{seed:06d}' for seed in seeds}
        images, masks = (
            np.load(tmp_path / 'slices' / f'{split}_{kind}.npy')[..., 0]
            for kind in ('images', 'masks')
        )
        rows = iter(zip(images, masks, strict=True))
        for trunk in (phantom.draw(seed, SIDE, demo.SPACING) for seed in seeds):
            first, last = (
                np.abs(trunk.z - trunk.levels[level]).argmin() for level in demo.LABELLED
            )
            assert last - first >= 2
            for i in range(first, last + 1):
                image, mask = next(rows)
                np.testing.assert_array_equal(image, trunk.hu[i])
                np.testing.assert_array_equal(mask, trunk.labels[i])
        assert next(rows, None) is None


def test_programs_are_started_as_a_user_would(small, started, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, '_compare', lambda *of: None)
    monkeypatch.setattr(demo.shipped, 'NETWORKS', tmp_path)
    for kind in ('segmentation', 'slice_selection'):
        (tmp_path / kind).mkdir()
    demo.main(['demo', '--scan', str(tmp_path)])
    parsed = {}
    for python, unshadowed, _, package, name, *arguments in started:
        assert (python, unshadowed) == (sys.executable, '-P')
        assert importlib.util.find_spec(f'{package}.{name}') is not None
        (config, *_), _ = flags.parse([name, *arguments], '', *CONFIGS[name])
        parsed.setdefault(name, []).append(config)
    (tissues,), (level,), (cohort, own) = parsed.values()
    models = tissues.model_output_dir
    assert (cohort.segmentation, cohort.slice_selection, cohort.size) == (
        f'{models}/{tissues.name}',
        f'{models}/{level.name}',
        SIDE,
    )
    assert (own.scans, own.segmentation) == (str(tmp_path), 'synthetic')
    printed = capsys.readouterr().out
    assert '3 synthetic subjects, labelled from L4 to L2: ' in printed
    assert f'$ python -m bodycomp_jax.programs train_segmentation {tissues.data_dir}' in printed


def test_a_program_that_fails_ends_the_demo(monkeypatch, tmp_path):
    monkeypatch.setattr(
        demo.subprocess, 'run', lambda command, check: types.SimpleNamespace(returncode=3)
    )
    with pytest.raises(SystemExit) as code:
        demo._run('estimate', tmp_path, tmp_path, '')
    assert code.value.code == 3


def test_a_program_that_a_signal_ends_is_an_error_of_the_demo(monkeypatch, tmp_path):
    monkeypatch.setattr(
        demo.subprocess, 'run', lambda command, check: types.SimpleNamespace(returncode=-9)
    )
    with pytest.raises(RunError, match='estimate was ended by the signal SIGKILL'):
        demo._run('estimate', tmp_path, tmp_path, '')


def test_what_cannot_be_measured_is_refused_before_the_work(started, monkeypatch, tmp_path):
    with pytest.raises(InputError, match='no such file'):
        demo.main(['demo', '--scan', str(tmp_path / 'none')])
    monkeypatch.setattr(demo.shipped, 'NETWORKS', tmp_path)
    with pytest.raises(InputError, match='comes without a segmentation network'):
        demo.main(['demo', '--scan', str(tmp_path)])
    assert not started


def test_new_subjects_are_series_on_disk(small, tmp_path):
    trunks = demo._write_scans(tmp_path)
    found = {series.patient_id: series for series in find_series(str(tmp_path)).series}
    assert found.keys() == trunks.keys() == {'new-1', 'new-2'}
    for patient, trunk in trunks.items():
        np.testing.assert_array_equal(found[patient].hu(3), np.maximum(trunk.hu[3], -1024))


def test_what_is_measured_stands_beside_what_is_true(small, tmp_path, capsys):
    trunks = {'a': phantom.draw(5, SIDE, 20.0), 'b': phantom.draw(6, SIDE, 20.0)}
    areas = {f'L3_{tissue}_area_cm2': str(10.0 * n) for n, tissue in enumerate(ct.TISSUES, 1)}
    rows = [
        {'patient_id': 'b', 'level_z_mm': '', **dict.fromkeys(areas, '')},
        {'patient_id': 'a', 'level_z_mm': '211.04', **areas},
    ]
    with open(tmp_path / 'results.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    demo._compare(trunks, tmp_path)
    heights, *tissues = capsys.readouterr().out.strip().splitlines()[1:5]
    a, b = (trunk.levels['L3'] for trunk in trunks.values())
    assert heights.split(maxsplit=2)[2] == f'211.0 ({a:.1f}), - ({b:.1f})'
    for n, line in enumerate(tissues, 1):
        true = [
            (trunk.labels[np.abs(trunk.z - trunk.levels['L3']).argmin()] == n).sum()
            * trunk.pixel_mm**2
            / 100
            for trunk in trunks.values()
        ]
        assert line.endswith(f'  {10 * n}.0 ({true[0]:.1f}), - ({true[1]:.1f})')


@pytest.mark.processes
def test_it_learns_to_segment(monkeypatch, capfd):
    """At half the size, with a level less; its trainer tests whether the other network learns."""
    for name, value in {'TRAIN': 24, 'VAL': 2, 'SIDE': SIDE, 'NEW_SPACING': 20.0}.items():
        monkeypatch.setattr(demo, name, value)
    run = demo._run

    def run_segmentation_trainer(program, source, target, options):
        if program == 'train_segmentation':
            run(program, source, target, options.replace(',64 -M 32,', ' -M '))

    monkeypatch.setattr(demo, '_run', run_segmentation_trainer)
    monkeypatch.setattr(demo, '_compare', lambda *of: None)
    demo.main(['demo'])
    printed = capfd.readouterr().out
    dice = [float(number) for number in re.search('best epoch.*', printed).group().split()[4:]]
    assert len(dice) == 3
    assert min(dice) > 0.75
