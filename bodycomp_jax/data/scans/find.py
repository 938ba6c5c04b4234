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
from bodycomp_jax.data.scans.packed import PackedHeaders, PackedSeries, SeriesSequence
from bodycomp_jax.data.scans.reasons import Skipped, naming, skipped
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import explained


@dataclasses.dataclass(frozen=True)
class Found:
    """The series in a folder, by the order of their files, and what is not taken."""

    series: SeriesSequence
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
    count = sum(1 for _ in _files(path, set(), []))
    files = _files(path, set(), left_out)
    headers = PackedHeaders()
    images: list[PackedSeries] = []
    for taken, left in progress(ReadAhead(_examined, files), count, path):
        left_out += left
        if isinstance(taken, PackedSeries):
            images.append(taken)
        else:
            headers.add(taken)
    series: list[PackedSeries] = []
    for group in headers.groups():
        of_group, unusable = grouped(group)
        series += map(PackedSeries.of, of_group)
        left_out += unusable
    return Found(SeriesSequence(_named_apart(series + images)), left_out)


def _examined(path: str) -> tuple[PackedSeries | list[Header], list[Skipped]]:
    """What a file holds, and what of it is not taken."""
    try:
        with naming(path):
            if nifti.is_nifti_name(path):
                return PackedSeries.of(nifti.open_series(path)), []
            return read_headers(path)
    except InputError as error:
        return [], [skipped(path, error)]


def _files(path: str, visited: set[tuple[int, int]], left_out: list[Skipped]) -> Iterator[str]:
    """The files in a folder at any depth, by their paths, each folder once whatever links lead to
    it."""
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
        paths = [os.path.join(path, name) for name in names]
        folders = {each for each in paths if os.path.isdir(each)}
        for each in sorted(paths, key=lambda each: each + os.sep * (each in folders)):
            yield from _files(each, visited, left_out)


def _named_apart(series: list[PackedSeries]) -> list[PackedSeries]:
    """The series with a number in the names of those that share one."""
    count = collections.Counter(each.name for each in series)
    number: collections.Counter[str] = collections.Counter()
    named = []
    for each in series:
        number[each.name] += 1
        suffix = f'-{number[each.name]}' if count[each.name] > 1 else ''
        named.append(dataclasses.replace(each, name=each.name + suffix))
    return named
