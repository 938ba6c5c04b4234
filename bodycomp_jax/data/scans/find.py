"""The series in a file or a folder, and why other files are not taken."""

import dataclasses
import os
from collections.abc import Callable, Iterable
from typing import Any

from bodycomp_jax.data.scans import nifti
from bodycomp_jax.data.scans.grouping import grouped
from bodycomp_jax.data.scans.headers import Header, read_headers
from bodycomp_jax.data.scans.series import Series
from bodycomp_jax.data.scans.skipped import Skipped
from bodycomp_jax.errors import InputError

# (items, their number, title) -> the same items, with progress shown
Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


@dataclasses.dataclass(frozen=True)
class Found:
    """The series in a folder in the order of their first files, and what is not taken."""

    series: list[Series]
    skipped: list[Skipped]


def find_series(
    path: str | os.PathLike[str], *, progress: Track = lambda items, count, title: items
) -> Found:
    """The CT series in a file or in a folder at any depth, DICOM or NIfTI.

    Args:
      path: of the file or folder.
      progress: shows the progress through a folder.

    Raises InputError if the path does not exist or cannot be read.
    """
    path = os.fspath(path)
    files = _files(path)
    headers: list[Header] = []
    series: list[Series] = []
    skipped: list[Skipped] = []
    for file in progress(files, len(files), path):
        try:
            if nifti.is_nifti_name(file):
                series.append(nifti.open_series(file))
            else:
                headers += read_headers(file)
        except InputError as error:
            skipped.append(Skipped(file, str(error).removeprefix(f'{file}: ')))
    dicom_series, unusable = grouped(headers)
    return Found(dicom_series + series, skipped + unusable)


def _files(path: str) -> list[str]:
    if not os.path.exists(path):
        raise InputError(f'{path}: no such file or folder; check the path')
    if not os.path.isdir(path):
        return [path]
    return sorted(
        os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names
    )
