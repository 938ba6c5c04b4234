"""What a set says of itself: the patients, series and slices of each split, how it was made."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from bodycomp_jax.data.file_names import SPLITS
from bodycomp_jax.data.prepared import ACCOUNT
from bodycomp_jax.data.table import write_table
from bodycomp_jax.preparation.parts import Part
from bodycomp_jax.runtime.json_files import write_json
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.runtime.versions import SCAN_PACKAGES, versions

PartsOf = Mapping[str, Sequence[Part]]  # by split


def by_split(parts: Sequence[Part], splits: Mapping[str, str], terminal: Terminal) -> PartsOf:
    """The parts of each split that has any; says how much each has.

    Args:
      parts: of the set.
      splits: {identity of a patient: split}.
      terminal: where it is said.
    """
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


def write_account(
    folder: str, flags: Mapping[str, Any], parts_of: PartsOf, rejected: int = 0
) -> None:
    """Writes what a set is made of, and how it was made.

    Args:
      folder: that holds the rest of the set.
      flags: {option: value} of the program.
      parts_of: of the set.
      rejected: number of the cases that were left out.
    """
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
    about = {
        'flags': dict(flags),
        'splits': {split: _counts(parts) for split, parts in parts_of.items()},
        'rejected': rejected,
        'versions': versions(SCAN_PACKAGES),
        'sha256': _hashes(folder),
    }
    write_json(os.path.join(folder, ACCOUNT), about)


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
