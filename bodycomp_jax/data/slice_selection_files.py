"""The pictures and tables of a slice-selection dataset, by split or shared out among folds."""

import os
import re
from typing import NamedTuple

from bodycomp_jax.data.file_names import TRAINING_SPLITS, offsets_table, pictures_folder
from bodycomp_jax.data.folds import Part, share_out
from bodycomp_jax.data.offset_table import OffsetTable, read_offsets, select
from bodycomp_jax.data.table import Table, contents_beside, read_table
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import explained


class Pictures(NamedTuple):
    """Pictures that are there, and their offsets.

    Attributes:
      folder: of the files, or what messages call them.
      paths: of the N files.
      table: its row i is of picture i.
      selection: which of the pictures of both splits they are; '' for those of a split.
    """

    folder: str
    paths: list[str]
    table: OffsetTable
    selection: str = ''


def list_split(
    data_dir: str | os.PathLike[str],
    split: str,
    levels: tuple[str, ...],
    *,
    check_values: bool = True,
) -> Pictures:
    """The pictures of `images/<split>/` and the offsets of `meta/<split>.csv`.

    Args:
      data_dir: the folder with `images` and `meta`.
      split: 'train' or 'val'.
      levels, check_values: see `read_offsets`.

    Raises InputError where they do not match.
    """
    return _list(data_dir, split, _read_table(data_dir, split), levels, check_values)


def list_fold(
    data_dir: str | os.PathLike[str],
    fold: int,
    folds: int,
    levels: tuple[str, ...],
    *,
    check_values: bool = True,
) -> list[Pictures]:
    """The pictures that train, and those that validate, of both splits together.

    Args:
      data_dir, levels, check_values: see `list_split`.
      fold, folds: see `share_out`.

    Raises InputError as both.
    """
    tables = [_read_table(data_dir, split) for split in TRAINING_SPLITS]
    splits = [
        _list(data_dir, split, table, levels, check_values)
        for split, table in zip(TRAINING_SPLITS, tables, strict=True)
    ]
    paths = [path for split in splits for path in split.paths]

    def part_of_both(part: Part) -> Pictures:
        name = f'{data_dir}, {part.name}'
        offsets = select([split.table for split in splits], part.rows, name)
        return Pictures(name, [paths[row] for row in part.rows], offsets, part.name)

    return [part_of_both(part) for part in share_out(tables, fold, folds)]


def pictures_in(folder: str) -> set[str]:
    """The names of the numbered pictures. Raises InputError if the folder cannot be read."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise InputError(f'{folder}: cannot be read ({explained(error, "")})') from error
    return {name for name in names if re.fullmatch(r'\d{6,}\.png', name, re.ASCII)}


def _read_table(data_dir: str | os.PathLike[str], split: str) -> Table:
    return read_table(offsets_table(data_dir, split))


def _list(
    data_dir: str | os.PathLike[str],
    split: str,
    table: Table,
    levels: tuple[str, ...],
    check_values: bool,
) -> Pictures:
    folder = pictures_folder(data_dir, split)
    offsets = read_offsets(table, levels, check_values=check_values)
    return Pictures(folder, _paths(folder, len(table.rows), table.path), offsets)


def _paths(folder: str, count: int, table: str) -> list[str]:
    """The paths of 000000.png and so on. Raises InputError unless there are exactly `count`."""
    if not os.path.isdir(folder):
        raise InputError(f'{folder}: no such folder; {contents_beside(folder)}')
    found = pictures_in(folder)
    if not found:
        raise InputError(
            f'{folder}: no pictures named 000000.png, 000001.png and so on (the ending in small '
            f'letters); {contents_beside(os.path.join(folder, "000000.png"))}'
        )
    wanted = [f'{i:06d}.png' for i in range(len(found))]
    gap = next((name for name in wanted if name not in found), None)
    if gap is not None:
        raise InputError(
            f'{folder}: {gap} is missing among {len(found)} pictures; number them 000000.png, '
            '000001.png and so on, without gaps'
        )
    if len(found) != count:
        raise InputError(
            f'{folder}: {len(found)} pictures (NNNNNN.png, the ending in small letters), but '
            f'{table} has {count} rows; write row i for picture i'
        )
    return [os.path.join(folder, name) for name in wanted]
