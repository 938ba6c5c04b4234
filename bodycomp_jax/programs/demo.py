"""Trains both networks on synthetic subjects and measures body composition at L3 of new ones.

The segmentation network is narrow, and the other one starts from that of the package, so that it
takes minutes on a CPU.
"""

import csv
import dataclasses
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.checkpoints import shipped
from bodycomp_jax.config import SHIPPED, TRAINERS, option
from bodycomp_jax.data import phantom, segmentation
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.preparation.synthetic import dicom
from bodycomp_jax.preparation.synthetic.subject import as_series
from bodycomp_jax.programs import restart
from bodycomp_jax.runtime import flags

TRAIN, VAL, NEW = 40, 4, 3  # subjects
SIDE, SPACING, NEW_SPACING = 128, 20.0, 5.0  # pixels; mm between slices
LEVELS = ('T12', 'L1', 'L2', 'L3', 'L4', 'L5')  # of the slice-selection network
LABELLED = ('L4', 'L2')  # levels between which the segmentation network sees slices
SEGMENTATION = '--name tissues -C 8,16,32,64 -M 32,16,8 -b 8 -e 32 -g 1'
SLICE_SELECTION = f'--name level -w {SHIPPED} -b 8 --batches_per_epoch 60 -e 1 -g 1'
SHIPPED_NETWORKS = f'--segmentation {SHIPPED} --slice_selection {SHIPPED}'
NETWORKS = (
    '--segmentation {models}/tissues --slice_selection {models}/level --levels L3 --size {size}'
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """What else is measured."""

    scan: str | None = option(
        None,
        'CT scan in a DICOM folder, or a DICOM or NIfTI file, that the networks of this package, '
        'which have seen synthetic subjects alone, measure in the end',
        group='Input and output',
        path=True,
    )


def main(argv: list[str]) -> None:
    (config,), _ = flags.parse(argv, __doc__, DemoConfig)
    if config.scan is not None:
        _refuse_unmeasurable(config.scan)
    folder = pathlib.Path(tempfile.mkdtemp(prefix='bodycomp_demo_'))
    models = folder / 'models'
    _write_sets(folder)
    print(f'{TRAIN + VAL} synthetic subjects, labelled from {" to ".join(LABELLED)}: {folder}')
    _run('train_segmentation', folder / 'slices', models, SEGMENTATION)
    _run('train_slice_selection', folder / 'trunks', models, SLICE_SELECTION)
    trunks = _write_scans(folder / 'scans')
    networks = NETWORKS.format(models=models, size=SIDE)
    _run('estimate', folder / 'scans', folder / 'results', networks)
    _compare(trunks, folder / 'results')
    if config.scan is not None:
        _run('estimate', pathlib.Path(config.scan), folder / 'own', SHIPPED_NETWORKS)


def _refuse_unmeasurable(scan: str) -> None:
    """Raises InputError for a scan that is not there, or without networks that measure it."""
    if not pathlib.Path(scan).exists():
        raise InputError(f'--scan {scan}: no such file or folder')
    for trainer in TRAINERS:
        shipped.resolved(SHIPPED, trainer)


def _write_sets(folder: pathlib.Path) -> None:
    """Writes `slices` and `trunks` of the same subjects."""
    for name in ('slices', 'trunks'):
        (folder / name).mkdir()
    for split, seeds in (('train', range(TRAIN)), ('val', range(TRAIN, TRAIN + VAL))):
        segmentation.write_split(folder / 'slices', split, _labelled_slices(seeds))
    phantom.write_slice_selection_set(
        folder / 'trunks', train=TRAIN, val=VAL, side=SIDE, spacing=SPACING, levels=LEVELS
    )


def _labelled_slices(seeds: range) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for seed in seeds:
        trunk = phantom.draw(seed, SIDE, SPACING)
        first, last = (_nearest(trunk.z, trunk.levels[level]) for level in LABELLED)
        for i in range(first, last + 1):
            yield trunk.hu[i], trunk.labels[i]


def _write_scans(folder: pathlib.Path) -> dict[str, phantom.Trunk]:
    """Writes subjects of neither split as DICOM series: {patient: trunk}."""
    trunks = {}
    for number in range(1, NEW + 1):
        patient = f'new-{number}'
        trunks[patient] = phantom.draw(TRAIN + VAL + number, SIDE, NEW_SPACING)
        (folder / patient).mkdir(parents=True)
        dicom.write_series(
            str(folder / patient), as_series(trunks[patient], [str(folder), patient]), patient
        )
    return trunks


def _run(program: str, source: pathlib.Path, target: pathlib.Path, options: str) -> None:
    """Runs a program as a user would."""
    arguments = ['-m', 'bodycomp_jax.programs', program, str(source), str(target)]
    arguments += shlex.split(options)
    print(f'$ python {shlex.join(arguments)}', flush=True)
    # -P: a file of the user in the working folder, such as random.py, is not a module of Python.
    code = subprocess.run([sys.executable, '-P', *arguments], check=False).returncode
    if code < 0:
        raise RunError(f'{program} was ended by the signal {signal.Signals(-code).name}')
    if code:
        sys.exit(code)


def _compare(trunks: dict[str, phantom.Trunk], results: pathlib.Path) -> None:
    """Prints what was measured beside what is true."""
    with open(results / 'results.csv', newline='', encoding='utf-8') as file:
        measured = {row['patient_id']: row for row in csv.DictReader(file)}
    rows = [measured[patient] for patient in trunks]
    at_l3 = [_nearest(trunk.z, trunk.levels['L3']) for trunk in trunks.values()]
    true_mm = [trunk.levels['L3'] for trunk in trunks.values()]
    print(f'\nL3 of {NEW} new synthetic subjects, measured (true):')
    print(f'  {"height, mm":<23}{_pairs([row["level_z_mm"] for row in rows], true_mm)}')
    for label, tissue in enumerate(ct.TISSUES, start=1):
        cm2 = [
            ct.area_cm2(trunk.labels[i], label, (trunk.pixel_mm,) * 2)
            for trunk, i in zip(trunks.values(), at_l3, strict=True)
        ]
        areas = [row[f'L3_{tissue}_area_cm2'] for row in rows]
        print(f'  {ct.spaced(tissue) + ", cm2":<23}{_pairs(areas, cm2)}')
    print(f'the report: {results / "report.html"}')


def _nearest(z: np.ndarray, mm: float) -> int:
    return int(np.abs(z - mm).argmin())


def _pairs(measured: Iterable[str], true: Iterable[float]) -> str:
    """What was measured is empty where a level was refused."""
    pairs = zip(measured, true, strict=True)
    return ', '.join(f'{float(m):.1f} ({t:.1f})' if m else f'- ({t:.1f})' for m, t in pairs)


if __name__ == '__main__':
    restart('demo')
