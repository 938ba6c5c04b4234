"""`slices.csv`: whose slice each row of the `.npy` files is."""

import os
import re
from collections.abc import Mapping

from bodycomp_jax.data.table import Table, read_table
from bodycomp_jax.errors import InputError, listed

MAX_SHOWN = 20  # characters of a value in a message
WANTED = (
    'write the columns split (train or val), row (of the arrays of that split, from 0) and '
    'patient, a row per slice'
)


def read_slices_table(path: str, lengths: Mapping[str, int]) -> Table:
    """The table in the order of the arrays, those of the first split first.

    Rows of other splits are left out.

    Args:
      path: of the file.
      lengths: {split: number of its slices}.

    Raises InputError unless there is exactly one row for each slice.
    """
    if not os.path.lexists(path):
        raise InputError(f'{path}: no such table, which says whose slices these are; {WANTED}')
    table = read_table(path)
    missing = next((name for name in ('split', 'row') if name not in table.header), None)
    if missing is not None:
        raise InputError(
            f'{path}: no column {missing} among {listed(map(repr, table.header))}; {WANTED}'
        )
    split_column, row_column = table.position('split'), table.position('row')
    found: dict[tuple[str, int], int] = {}  # of each slice, its row in the table
    for i, row in enumerate(table.rows):
        split = row[split_column].strip()
        if split in lengths:
            number = _slice_number(path, i, row[row_column].strip(), split, lengths[split])
            if (split, number) in found:
                raise InputError(
                    f'{path}: rows {found[split, number]} and {i} are both of slice {number} of '
                    f'{split}; {WANTED}'
                )
            found[split, number] = i
    wanted = [(split, number) for split, length in lengths.items() for number in range(length)]
    for split, number in wanted:
        if (split, number) not in found:
            raise InputError(
                f'{path}: no row for slice {number} of {lengths[split]} of {split}; {WANTED}'
            )
    return table.select([found[each] for each in wanted])


def _slice_number(path: str, row: int, text: str, split: str, length: int) -> int:
    number = int(text) if re.fullmatch(r'\d{1,9}', text, re.ASCII) else length
    if number >= length:
        raise InputError(
            f'{path}: row {row}, column row: {text[:MAX_SHOWN]!r} is no slice of {split}, which '
            f'has {length}, from 0 to {length - 1}; {WANTED}'
        )
    return number
