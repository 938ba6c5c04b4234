"""From cases to a set, whole or not at all: what both programs do."""

import os
import shutil
from collections.abc import Callable, Sequence

from bodycomp_jax.config import to_values
from bodycomp_jax.data.table import write_table
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.preparation.account import PartsOf, by_split, write_account
from bodycomp_jax.preparation.cases import Case
from bodycomp_jax.preparation.options import PreparationConfig
from bodycomp_jax.preparation.parts import Account, MakeSlices, make_parts
from bodycomp_jax.preparation.splits import split_of_patients
from bodycomp_jax.runtime.folders import new_folder
from bodycomp_jax.runtime.terminal import Terminal

PARTS = 'parts'
REJECTED, SKIPPED = 'rejected.csv', 'skipped.csv'


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
        splits = _split_of(config, [(part.case, part.identity) for part in account.parts])
        parts_of = by_split(account.parts, splits, terminal)
        write_set(folder, parts_of)
        shutil.rmtree(parts_folder)
        _write_left_out(account, folder)
        write_account(folder, to_values(config), parts_of, len(account.rejected))
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


def _write_left_out(account: Account, folder: str) -> None:
    """Writes which cases and files are no part of the set, and why."""
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
