"""From cases to a set, whole or not at all: what both programs do."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bodycomp_jax.config import to_values
from bodycomp_jax.data.prepared import ACCOUNT
from bodycomp_jax.data.table import write_table
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.preparation.cases import Case
from bodycomp_jax.preparation.options import PreparationConfig
from bodycomp_jax.preparation.parts import Account, MakeSlices, Part, make_parts
from bodycomp_jax.preparation.splits import SPLITS, split_of_patients
from bodycomp_jax.runtime.files import replacing
from bodycomp_jax.runtime.folders import new_folder
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.runtime.versions import SCAN_PACKAGES, versions

PARTS = 'parts'
REJECTED, SKIPPED = 'rejected.csv', 'skipped.csv'

PartsOf = Mapping[str, Sequence[Part]]  # by split


def prepare(
    config: PreparationConfig,
    cases: Sequence[Case],
    make_slices: MakeSlices,
    write_set: Callable[[str, PartsOf], None],
) -> None:
    """Writes a set.

    Args:
      config: where, and how it is split.
      cases: in the order of the set.
      make_slices: what a case gives; a case for which it raises InputError is left out.
      write_set: writes images, labels and previews in a folder.

    Raises InputError if no case can be used or a label is unexplained, before anything is written;
    RunError, after the set is written, if cases were left out and that is not allowed.
    """
    terminal = Terminal()
    _refuse_contradictions(config, cases)
    with new_folder(config.output_dir) as folder:
        parts_folder = os.path.join(folder, PARTS)
        os.mkdir(parts_folder)
        account = make_parts(config, cases, make_slices, parts_folder, terminal)
        if not account.parts:
            raise InputError(f'{config.cases}: no case can be used; see the warnings above')
        parts_of = _split(config, account.parts, terminal)
        write_set(folder, parts_of)
        shutil.rmtree(parts_folder)
        _write_account(config, parts_of, account, folder)
    terminal.line(f'written: {config.output_dir}')
    rejected, skipped = len(account.rejected), len(account.skipped)
    if skipped:
        terminal.line(f'{skipped} files are not taken; {config.output_dir}/{SKIPPED} says why')
    if rejected and not config.allow_rejected:
        raise RunError(
            f'{rejected} of {len(cases)} cases were left out, see '
            f'{os.path.join(config.output_dir, REJECTED)}; the set is complete without them: use '
            'it, or correct them and prepare it again; --allow_rejected makes this no error'
        )


def _split(config: PreparationConfig, parts: Sequence[Part], terminal: Terminal) -> PartsOf:
    """The parts of each split that has any; says how much each has."""
    splits = _split_of(config, [(part.case, part.identity) for part in parts])
    parts_of = {}
    for split in SPLITS:
        of_split = [part for part in parts if splits[part.identity] == split]
        if of_split:
            parts_of[split] = of_split
            counts = _counts(of_split).items()
            terminal.line(f'{split}: ' + ', '.join(f'{number:,} {what}' for what, number in counts))
    if len({*parts_of} & {'train', 'val'}) == 1:
        terminal.warn(
            f'no patient is in {"val" if "train" in parts_of else "train"}; the trainers need '
            'both: add patients, or a column split'
        )
    return parts_of


def _refuse_contradictions(config: PreparationConfig, cases: Sequence[Case]) -> None:
    """Raises InputError for splits and folds that cannot be, whoever the unnamed patients are."""
    there = [case for case in cases if os.path.exists(case.image)]
    _split_of(config, [(case, case.patient or f'of case {case.number}') for case in there])


def _split_of(config: PreparationConfig, cases: Sequence[tuple[Case, str]]) -> dict[str, str]:
    """The split of the patient of each case."""
    return split_of_patients(
        [(case.number, patient, case.split, case.fold) for case, patient in cases],
        val_share=config.val_share,
        test_share=config.test_share,
        seed=config.seed,
    )


def _counts(parts: Sequence[Part]) -> dict[str, int]:
    counts = {
        'patients': len({part.patient for part in parts}),
        'series': len(parts),
        'slices': sum(len(part.slices.rows) for part in parts),
    }
    for part in parts:
        for what, number in part.slices.counts.items():
            counts[what] = counts.get(what, 0) + number
    return counts


def _write_account(
    config: PreparationConfig,
    parts_of: PartsOf,
    account: Account,
    folder: str,
) -> None:
    """Writes what the set is made of, what was left out, and how it was made."""
    write_table(
        os.path.join(folder, 'series.csv'),
        [
            {
                'case': str(part.case.number),
                'split': split,
                'patient': part.patient,
                'series': part.series,
                'slices': str(len(part.slices.rows)),
                'image': part.case.image,
            }
            for split, parts in parts_of.items()
            for part in parts
        ],
    )
    write_table(
        os.path.join(folder, REJECTED),
        [
            {'case': str(case.number), 'image': case.image, 'reason': reason}
            for case, reason in account.rejected
        ],
        header=('case', 'image', 'reason'),
    )
    write_table(
        os.path.join(folder, SKIPPED),
        [
            {'case': str(case.number), 'file': skipped.path, 'reason': skipped.reason}
            for skipped, case in account.skipped.items()
        ],
        header=('case', 'file', 'reason'),
    )
    about = {
        'flags': to_values(config),
        'splits': {split: _counts(parts) for split, parts in parts_of.items()},
        'rejected': len(account.rejected),
        'versions': versions(SCAN_PACKAGES),
        'sha256': _hashes(folder),
    }
    with replacing(os.path.join(folder, ACCOUNT)) as file:
        json.dump(about, file, indent=2)


def _hashes(folder: str) -> dict[str, str]:
    """The SHA-256 of each file; of a folder of pictures, that of their hashes in order."""
    hashes: dict[str, Any] = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            with open(os.path.join(parent, name), 'rb') as file:
                digest = hashlib.file_digest(file, 'sha256')
            path = os.path.relpath(os.path.join(parent, name), folder)
            if name.endswith('.png'):
                hashes.setdefault(os.path.dirname(path), hashlib.sha256()).update(digest.digest())
            else:
                hashes[path] = digest
    return {path: digest.hexdigest() for path, digest in hashes.items()}
