"""The series in a file or a folder, and why other files are not taken."""

import collections
import dataclasses
import os
from collections.abc import Iterator

from bodycomp_jax.data.batches import ReadAhead
from bodycomp_jax.data.dataset import Track
from bodycomp_jax.data.scans import nifti
from bodycomp_jax.data.scans.grouping import grouped
from bodycomp_jax.data.scans.headers import Header, read_headers
from bodycomp_jax.data.scans.reasons import Skipped, naming, skipped
from bodycomp_jax.data.scans.series import Series
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import explained


@dataclasses.dataclass(frozen=True)
class Found:
    """The series in a folder, by the order of their files, and what is not taken."""

    series: list[Series]
    skipped: list[Skipped]


def find_series(
    path: str | os.PathLike[str], *, progress: Track = lambda items, count, title: items
) -> Found:
    """The CT series in a file, or in a folder at any depth, as DICOM or NIfTI files.

    Args:
      path: of the file or folder; links are followed.
      progress: shows the progress through a folder.

    Raises InputError if the path does not exist.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise InputError(f'{path}: no such file or folder; check the path')
    left_out: list[Skipped] = []
    files = sorted(_files(path, set(), left_out))
    headers: list[Header] = []
    series: list[Series] = []
    for taken, left in progress(ReadAhead(_examined, files), len(files), path):
        left_out += left
        if isinstance(taken, Series):
            series.append(taken)
        else:
            headers += taken
    from_dicom, unusable = grouped(headers)
    return Found(_named_apart(from_dicom + series), left_out + unusable)


def _examined(path: str) -> tuple[Series | list[Header], list[Skipped]]:
    """What a file holds, and what of it is not taken."""
    try:
        with naming(path):
            if nifti.is_nifti_name(path):
                return nifti.open_series(path), []
            return read_headers(path)
    except InputError as error:
        return [], [skipped(path, error)]


def _files(path: str, visited: set[tuple[int, int]], left_out: list[Skipped]) -> Iterator[str]:
    """The files in a folder at any depth, each folder once whatever links lead to it."""
    if not os.path.isdir(path):
        yield path
        return
    try:
        found = os.stat(path)
        names = os.listdir(path)
    except OSError as error:
        left_out.append(Skipped(path, explained(error, '')))
        return
    if (found.st_dev, found.st_ino) not in visited:
        visited.add((found.st_dev, found.st_ino))
        for name in names:
            yield from _files(os.path.join(path, name), visited, left_out)


def _named_apart(series: list[Series]) -> list[Series]:
    """The series with a number in the names of those that share one."""
    count = collections.Counter(each.name for each in series)
    number: collections.Counter[str] = collections.Counter()
    named = []
    for each in series:
        number[each.name] += 1
        suffix = f'-{number[each.name]}' if count[each.name] > 1 else ''
        named.append(dataclasses.replace(each, name=each.name + suffix))
    return named
