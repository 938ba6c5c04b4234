"""Both training sets of the same synthetic subjects: drawn by several processes, then written."""

import functools
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from bodycomp_jax.config import DENSENET_SIDE, as_flag
from bodycomp_jax.data.table import write_table
from bodycomp_jax.errors import InputError
from bodycomp_jax.preparation import segmentation, slice_selection
from bodycomp_jax.preparation.account import by_split, write_account
from bodycomp_jax.preparation.cases import Case
from bodycomp_jax.preparation.parts import Part
from bodycomp_jax.preparation.splits import split_of_patients
from bodycomp_jax.preparation.synthetic.options import SyntheticConfig
from bodycomp_jax.preparation.synthetic.subject import (
    LUMBAR,
    MASKS,
    SCANS,
    SEGMENTATION,
    SLICE_SELECTION,
    Made,
    make,
    name_of,
    part_of,
    read_made,
)
from bodycomp_jax.runtime import arithmetic
from bodycomp_jax.runtime.files import free_bytes, refuse_unwritable
from bodycomp_jax.runtime.folders import locked, new_folder
from bodycomp_jax.runtime.json_files import read_json_object, write_json
from bodycomp_jax.runtime.pool import Pool
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.runtime.versions import versions

PARTS, DICOM, STATE = 'parts', 'dicom', 'synthetic.json'
PACKAGES = ('bodycomp_jax', 'numpy', 'pillow', 'scipy')  # that decide the pixels
WRITERS = {SEGMENTATION: segmentation.write_set, SLICE_SELECTION: slice_selection.write_set}
REFERENCE = {'reference': 'middle'}  # the point of a vertebra that is its level
TRUNK_MM = 450  # from the first slice of a subject to the last, about
HEADERS_BYTES = 1.05  # of the files to their pixels


def make_synthetic(config: SyntheticConfig) -> None:
    """Writes the sets that the flags describe, in a folder of their own each.

    What is drawn is kept until all is written: a run that was killed continues where it was.

    Raises InputError if the folder holds something else, or was begun with other flags or versions.
    """
    terminal = Terminal()
    folder = os.path.realpath(config.output_dir)
    refuse_unwritable(folder)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with locked(folder, folder):
        if _is_finished(config, folder):
            terminal.line(f'{folder}: all is written already')
            return
        numbers = range(config.subjects)
        parts = os.path.join(folder, PARTS)
        todo = [i for i in numbers if read_made(parts, i) is None]
        _refuse_small_disk(config, folder, len(todo))
        _make_folders(config, folder)
        _note(config, folder, finished=False)
        _draw(config, folder, todo, terminal)
        made = [_made(parts, i) for i in numbers]
        _write_sets(config, folder, made, terminal)
        _note(config, folder, finished=True)
        shutil.rmtree(parts)
    terminal.line(f'written: {folder}')


def _is_finished(config: SyntheticConfig, folder: str) -> bool:
    """Whether there is nothing to do. Raises InputError if this cannot be continued."""
    path = os.path.join(folder, STATE)
    if not os.path.lexists(path):
        if others := {*os.listdir(folder)} - {PARTS, DICOM}:
            raise InputError(
                f'{folder}: this folder holds {min(others)}; remove it, or choose another folder'
            )
        return False
    found = read_json_object(path)
    for name, value in config.of_sets.items():
        before = _value(found, 'flags', name)
        if before != value:
            raise InputError(
                f'{folder}: was begun with {as_flag(name, before)}, not {as_flag(name, value)}; '
                'give that, or choose another folder'
            )
    if found.get('finished') is True:
        shutil.rmtree(os.path.join(folder, PARTS), ignore_errors=True)
        return True
    for name, value in versions(PACKAGES).items():
        before = _value(found, 'versions', name)
        if before != value:
            raise InputError(
                f'{folder}: was begun with {name} {before}, not {value}, which may draw other '
                'pixels; install that, or choose another folder'
            )
    return False


def _value(found: dict[str, Any], group: str, name: str) -> Any:
    values = found.get(group)
    return values.get(name) if isinstance(values, dict) else None


def _note(config: SyntheticConfig, folder: str, *, finished: bool) -> None:
    about = {'finished': finished, 'flags': config.of_sets, 'versions': versions(PACKAGES)}
    write_json(os.path.join(folder, STATE), about)


def _refuse_small_disk(config: SyntheticConfig, folder: str, todo: int) -> None:
    """Raises InputError if what is left to write does not fit on the disk."""
    slices = TRUNK_MM / config.slice_spacing
    part = 3 * config.slices * config.size**2 + slices * DENSENET_SIDE**2
    dicom = 2 * slices * config.size**2 if config.dicom else 0
    needed = HEADERS_BYTES * (todo * (part + dicom) + config.subjects * part)
    free = free_bytes(folder)
    if free < needed:
        raise InputError(
            f'{folder}: this run needs about {needed / 1e9:,.1f} GB, but only {free / 1e9:,.1f} GB '
            'are free; free some space, choose another folder, or draw fewer --subjects'
        )


def _make_folders(config: SyntheticConfig, folder: str) -> None:
    names = [os.path.join(PARTS, of_set) for of_set in WRITERS]
    if config.dicom:
        names += [os.path.join(DICOM, name) for name in (SCANS, MASKS)]
    for name in names:
        os.makedirs(os.path.join(folder, name), exist_ok=True)


def _draw(config: SyntheticConfig, folder: str, todo: Sequence[int], terminal: Terminal) -> None:
    if done := config.subjects - len(todo):
        terminal.line(f'{done:,} of {config.subjects:,} subjects are drawn already')
    if not todo:
        return
    workers = config.workers or arithmetic.num_cores(os.environ)
    draw = functools.partial(make, config, os.path.join(folder, PARTS), os.path.join(folder, DICOM))
    with Pool(workers) as pool:
        for _ in terminal.track(pool.as_done(draw, todo), len(todo), config.output_dir):
            pass


def _made(parts: str, number: int) -> Made:
    made = read_made(parts, number)
    if made is None:
        raise InputError(f'{parts}: subject {number} was removed; repeat the same command')
    return made


def _write_sets(
    config: SyntheticConfig, folder: str, made: Sequence[Made], terminal: Terminal
) -> None:
    """Writes what is not written yet."""
    names = [name_of(config, i) for i in range(config.subjects)]
    splits = split_of_patients(
        [(i, name, '', '') for i, name in enumerate(names)],
        val_share=config.val_share,
        test_share=0.0,
        seed=config.seed,
    )
    for of_set, write_set in WRITERS.items():
        path = os.path.join(folder, of_set)
        if os.path.exists(path):
            continue
        parts = [
            _part(folder, of_set, i, name, each)
            for i, (name, each) in enumerate(zip(names, made, strict=True))
        ]
        terminal.line(f'{path}:')
        with new_folder(path) as new:
            parts_of = by_split(parts, splits, terminal)
            write_set(new, parts_of)
            write_account(new, config.of_sets | REFERENCE, parts_of)
    if config.dicom:
        _write_tables(os.path.join(folder, DICOM), names, splits, made)


def _part(folder: str, of_set: str, number: int, name: str, made: Made) -> Part:
    slices = made.slices[of_set]
    rows = [{'series': made.uid, 'patient': name, **row} for row in slices.rows]
    path = part_of(os.path.join(folder, PARTS), of_set, number)
    case = Case(number, {})
    return Part(path, case, name, name, made.uid, slices._replace(rows=rows), kept=True)


def _write_tables(
    folder: str, names: Sequence[str], splits: Mapping[str, str], made: Sequence[Made]
) -> None:
    """Writes the tables that the programs read which prepare sets and measure scans."""
    write_table(
        os.path.join(folder, 'cases.csv'),
        [
            {
                'image': os.path.join(SCANS, name),
                'mask': os.path.join(MASKS, f'{each.uid}.dcm'),
                'split': splits[name],
                **{level: f'{mm:.3f}' for level, mm in each.levels.items()},
            }
            for name, each in zip(names, made, strict=True)
        ],
    )
    write_table(
        os.path.join(folder, 'levels.csv'),
        [
            {'series': each.uid, 'level': level, 'z_mm': f'{mm:.3f}'}
            for each in made
            for level, mm in each.levels.items()
            if level in LUMBAR  # whose slices are labelled
        ],
    )
