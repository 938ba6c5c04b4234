"""Trains both networks on synthetic subjects and measures body composition at L3 of new ones.

The networks are narrow, so that it takes minutes on a CPU.
"""

import pathlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from bodycomp_jax import ct, load_model
from bodycomp_jax.data import phantom, segmentation
from bodycomp_jax.metrics import figures
from bodycomp_jax.programs import restart
from bodycomp_jax.runtime import flags

TRAIN, VAL, NEW = 40, 4, 3  # subjects
SIDE, SPACING, NEW_SPACING = 128, 20.0, 5.0  # pixels; mm between slices
LABELLED = ('L4', 'L2')  # levels between which the segmentation network sees slices
SEGMENTATION = '--name tissues -C 8,16,32,64 -M 32,16,8 -b 8 -e 32 -g 1'
SLICE_SELECTION = '--name level -e 5 --nb_layers_per_block 2 -g 1'


def main(argv: list[str]) -> None:
    flags.parse(argv, __doc__)
    folder = pathlib.Path(tempfile.mkdtemp(prefix='bodycomp_demo_'))
    _write_sets(folder)
    print(f'{TRAIN + VAL} synthetic subjects, labelled from {" to ".join(LABELLED)}: {folder}')
    segmenter = _train('train_segmentation', folder / 'slices', folder / 'models', SEGMENTATION)
    selector = _train(
        'train_slice_selection', folder / 'trunks', folder / 'models', SLICE_SELECTION
    )
    _measure(segmenter, selector, folder)


def _write_sets(folder: pathlib.Path) -> None:
    """Writes `slices` and `trunks` of the same subjects."""
    for name in ('slices', 'trunks'):
        (folder / name).mkdir()
    for split, seeds in (('train', range(TRAIN)), ('val', range(TRAIN, TRAIN + VAL))):
        segmentation.write_split(folder / 'slices', split, _labelled_slices(seeds))
    phantom.write_slice_selection_set(
        folder / 'trunks', train=TRAIN, val=VAL, side=SIDE, spacing=SPACING
    )


def _labelled_slices(seeds: range) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for seed in seeds:
        trunk = phantom.draw(seed, SIDE, SPACING)
        first, last = (_nearest(trunk.z, trunk.levels[level]) for level in LABELLED)
        for i in range(first, last + 1):
            yield trunk.hu[i], trunk.labels[i]


def _train(trainer: str, data_dir: pathlib.Path, output_dir: pathlib.Path, options: str) -> Any:
    """Runs a trainer as a user would; returns its model."""
    arguments = ['-m', 'bodycomp_jax.programs', trainer, str(data_dir), str(output_dir)]
    arguments += options.split()
    print(f'$ python {shlex.join(arguments)}', flush=True)
    # -P: a file of the user in the working folder, such as random.py, is not a module of Python.
    code = subprocess.run([sys.executable, '-P', *arguments], check=False).returncode
    if code:
        sys.exit(code)
    return load_model(output_dir / options.split()[1])


def _measure(segmenter: Any, selector: Any, folder: pathlib.Path) -> None:
    """Finds and segments L3 of subjects in neither split; prints areas and draws figures."""
    trunks = [phantom.draw(TRAIN + VAL + i, SIDE, NEW_SPACING) for i in range(NEW)]
    found = [selector.find(trunk.hu, trunk.z)['L3'].z for trunk in trunks]
    true = [trunk.levels['L3'] for trunk in trunks]
    images, masks = _at(trunks, found)
    probabilities, labels = segmenter(images)
    _, true_masks = _at(trunks, true)
    subjects = f'of {NEW} new synthetic subjects'
    print(f'\nL3 {subjects}, mm above the lowest slice, predicted (true): {_pairs(found, true, 0)}')
    print(f'cm2 at L3 {subjects}, predicted (true):')
    pixel = (trunks[0].pixel_mm,) * 2
    for label, tissue in enumerate(segmenter.config.tissues, start=1):
        predicted_cm2, true_cm2 = (ct.area_cm2(x, label, pixel) for x in (labels, true_masks))
        print(f'  {tissue.replace("_", " "):<18}{_pairs(predicted_cm2, true_cm2, 1)}')
    tissues = figures.segmentation_figures(
        probabilities, images, masks, tissues=segmenter.config.tissues, apply_window=True
    )
    _save(tissues, folder / 'prediction.png')
    _save(_level_figures(selector, trunks), folder / 'level.png')


def _level_figures(selector: Any, trunks: list[phantom.Trunk]) -> list[np.ndarray]:
    """Predicted and true curve of each trunk."""
    return [
        figure
        for i, trunk in enumerate(trunks, start=1)
        for figure in figures.level_figures(
            selector(trunk.hu),
            offsets=(trunk.z - trunk.levels['L3'])[:, None],
            series={f'new subject {i}': np.arange(len(trunk.z))},
            levels=selector.config.levels,
            threshold=selector.config.threshold,
        )
    ]


def _at(trunks: list[phantom.Trunk], heights: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The slices nearest to a height in mm in each trunk: (`[n, H, W]` HU, `[n, H, W]` labels)."""
    rows = [_nearest(trunk.z, mm) for trunk, mm in zip(trunks, heights, strict=True)]
    hu = np.stack([trunk.hu[i] for trunk, i in zip(trunks, rows, strict=True)])
    return hu, np.stack([trunk.labels[i] for trunk, i in zip(trunks, rows, strict=True)])


def _nearest(z: np.ndarray, mm: float) -> int:
    return int(np.abs(z - mm).argmin())


def _pairs(predicted: Any, true: Any, digits: int) -> str:
    pairs = zip(predicted, true, strict=True)
    return ', '.join(f'{p:.{digits}f} ({t:.{digits}f})' for p, t in pairs)


def _save(pictures: list[np.ndarray], path: pathlib.Path) -> None:
    Image.fromarray(np.concatenate(pictures)).save(path)
    print(f'figure: {path}')


if __name__ == '__main__':
    restart('demo')
