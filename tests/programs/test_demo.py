"""The demo: its training sets, the commands it runs, and what it prints and draws."""

import csv
import importlib.util
import re
import sys
import types

import numpy as np
import pytest
from PIL import Image

from bodycomp_jax import ct
from bodycomp_jax.config import RunConfig, SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.data import phantom
from bodycomp_jax.programs import demo
from bodycomp_jax.runtime import flags
from bodycomp_jax.vertebrae import LevelPosition

CONFIGS = {'train_segmentation': SegmentationConfig, 'train_slice_selection': SliceSelectionConfig}
SIDE = 64


@pytest.fixture
def small(monkeypatch):
    """Few subjects of few slices."""
    for name, value in {'TRAIN': 2, 'VAL': 1, 'SIDE': SIDE, 'NEW_SPACING': 20.0}.items():
        monkeypatch.setattr(demo, name, value)


class Segmenter:
    """Predicts muscle wherever a pixel has its HU."""

    config = types.SimpleNamespace(tissues=ct.TISSUES)

    def __call__(self, slices):
        labels = ((slices > 20) & (slices < 90)).astype(np.uint8)
        return np.eye(4, dtype=np.float32)[labels], labels


class SliceSelector:
    """Finds L3 so many mm above the lowest slice."""

    config = types.SimpleNamespace(levels=('L3',), threshold=10.0)
    z = 207.0

    def __call__(self, slices):
        return np.linspace(-self.z, self.z, len(slices), dtype=np.float32)[:, None]

    def find(self, slices, z):
        return {'L3': LevelPosition(z=self.z, misfit=0.0, outside=False)}


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


@pytest.mark.parametrize('code', [0, 3])
def test_trainers_are_started_as_a_user_would(monkeypatch, capsys, tmp_path, code):
    started, loaded = [], []
    monkeypatch.setattr(
        demo.subprocess,
        'run',
        lambda command, check: started.append(command) or types.SimpleNamespace(returncode=code),
    )
    monkeypatch.setattr(demo, 'load_model', loaded.append)
    for trainer, options in (
        ('train_segmentation', demo.SEGMENTATION),
        ('train_slice_selection', demo.SLICE_SELECTION),
    ):
        if code:
            with pytest.raises(SystemExit) as exit_code:
                demo._train(trainer, tmp_path / 'data', tmp_path / 'models', options)
            assert exit_code.value.code == code
            assert not loaded
        else:
            demo._train(trainer, tmp_path / 'data', tmp_path / 'models', options)
        python, unshadowed, _, package, name, *arguments = started.pop()
        assert (python, unshadowed) == (sys.executable, '-P')
        assert importlib.util.find_spec(f'{package}.{name}') is not None
        (run, _), _ = flags.parse([name, *arguments], '', RunConfig, CONFIGS[trainer])
        assert run.data_dir == str(tmp_path / 'data')
        assert f'$ python -m {package} {name} {" ".join(arguments)}' in capsys.readouterr().out
        if not code:
            assert loaded.pop() == tmp_path / 'models' / run.name


def test_it_prints_what_is_predicted_at_the_level_found_and_what_is_true(small, tmp_path, capsys):
    demo._measure(Segmenter(), SliceSelector(), tmp_path)
    lines = capsys.readouterr().out.strip().splitlines()
    trunks = [phantom.draw(3 + i, SIDE, demo.NEW_SPACING) for i in range(3)]
    found = [trunk.hu[np.abs(trunk.z - SliceSelector.z).argmin()] for trunk in trunks]
    true = [trunk.labels[np.abs(trunk.z - trunk.levels['L3']).argmin()] for trunk in trunks]
    pixel = trunks[0].pixel_mm ** 2 / 100
    predicted = [((hu > 20) & (hu < 90)).sum() * pixel for hu in found]

    def pairs(values, truth, digits):
        return ', '.join(
            f'{v:.{digits}f} ({t:.{digits}f})' for v, t in zip(values, truth, strict=True)
        )

    heights = pairs([207] * 3, [trunk.levels['L3'] for trunk in trunks], 0)
    assert lines[0] == (
        f'L3 of 3 new synthetic subjects, mm above the lowest slice, predicted (true): {heights}'
    )
    assert lines[1] == 'cm2 at L3 of 3 new synthetic subjects, predicted (true):'
    for label, tissue, areas, line in zip(
        (1, 2, 3), ct.TISSUES, (predicted, [0] * 3, [0] * 3), lines[2:5], strict=True
    ):
        truth = [(mask == label).sum() * pixel for mask in true]
        assert line.split('  ')[1] == tissue.replace('_', ' ')
        assert line.endswith('  ' + pairs(areas, truth, 1))
    for name, line in zip(('prediction.png', 'level.png'), lines[5:], strict=True):
        assert line == f'figure: {tmp_path / name}'
        with Image.open(tmp_path / name) as picture:
            assert picture.mode == 'RGB'
            assert min(picture.size) > 3 * 64


def test_it_trains_both_networks_and_measures(small, monkeypatch, capsys):
    models = {'train_segmentation': Segmenter(), 'train_slice_selection': SliceSelector()}

    def train(trainer, data_dir, output_dir, options):
        assert any(data_dir.iterdir())
        return models.pop(trainer)

    monkeypatch.setattr(demo, '_train', train)
    demo.main(['demo'])
    assert not models
    assert '3 synthetic subjects, labelled from L4 to L2: ' in capsys.readouterr().out


@pytest.mark.processes
def test_it_learns_to_segment(monkeypatch, capfd):
    """At half the size, with a level less; its trainer tests whether the other network learns."""
    for name, value in {'TRAIN': 24, 'VAL': 2, 'SIDE': SIDE, 'NEW_SPACING': 20.0}.items():
        monkeypatch.setattr(demo, name, value)
    train = demo._train

    def train_segmenter(trainer, data_dir, output_dir, options):
        if trainer != 'train_segmentation':
            return SliceSelector()
        return train(trainer, data_dir, output_dir, options.replace(',64 -M 32,', ' -M '))

    monkeypatch.setattr(demo, '_train', train_segmenter)
    demo.main(['demo'])
    printed = capfd.readouterr().out
    dice = [float(number) for number in re.search('best epoch.*', printed).group().split()[4:]]
    assert len(dice) == 3
    assert min(dice) > 0.8
    pictures = re.findall('figure: (.*)', printed)
    assert len(pictures) == 2
    for picture in pictures:
        with Image.open(picture) as image:
            image.verify()
