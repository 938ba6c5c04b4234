"""Masks in NIfTI files: one file with several labels, or a folder with a file per class."""

import os
import re
from collections.abc import Callable, Sequence

import numpy as np

from bodycomp_jax.data.masks.labels import BACKGROUND, LabelMap, Names, add_class, whole_numbers
from bodycomp_jax.data.masks.planes import LabelPlanes, described
from bodycomp_jax.data.scans.nifti import NiftiVolume
from bodycomp_jax.data.scans.reasons import naming
from bodycomp_jax.errors import InputError, listed

TABLE_ENTRY = re.compile(r'<Label\b[^>]*\bKey="(\d{1,9})"[^>]*>\s*(?:<!\[CDATA\[)?([^\]<]+)')


def open_nifti(path: str, label_map: LabelMap, names: Names) -> LabelPlanes:
    """The labels in a NIfTI file.

    Args:
      path: of the file.
      label_map: what its values mean.
      names: of its values; those in a table of labels in its header are known.

    Raises InputError for other files. Reading a plane raises UnexplainedLabelError.
    """
    with naming(path):
        volume = NiftiVolume(path)
        names = {**_table(volume.extensions()), **names}
    return _planes(path, volume, lambda k: label_map.labels(_values(volume, k, path), names, path))


def open_class_files(folder: str, paths: Sequence[str], label_map: LabelMap) -> LabelPlanes:
    """The labels in NIfTI files, each named after the class whose pixels are not 0.

    Args:
      folder: of the files.
      paths: of the files; those of classes that become background are not read.
      label_map: what the names mean.

    Raises InputError for other files and for different grids, UnexplainedLabelError for a class
    that nothing explains. Reading a plane raises InputError where two tissues overlap.
    """
    volumes, label_of = {}, {}
    for path in paths:
        name = re.sub(r'\.nii(\.gz)?$', '', os.path.basename(path), flags=re.I)
        label_of[path] = label_map.label_of_class((name,), path)
        if label_of[path] != BACKGROUND:
            with naming(path):
                volumes[path] = NiftiVolume(path)
    if not volumes:
        raise InputError(
            f'{folder}: all its classes are background ({listed(map(os.path.basename, paths))}); '
            'expected tissues, or vertebrae such as vertebrae_L3.nii.gz'
        )
    first, *_ = volumes
    planes = _planes(folder, volumes[first], lambda k: _merged(volumes, label_of, k))
    for path, volume in volumes.items():
        grids = [each.grid for each in volume.slices]
        if [planes.plane_of(grid) for grid in grids] != [*range(len(planes))]:
            raise InputError(
                f'{path}: {described(grids)}, but {first} has {described(planes.grids)}; make all '
                'classes on one grid'
            )
    return planes


def _planes(path: str, volume: NiftiVolume, read: Callable[[int], np.ndarray]) -> LabelPlanes:
    grids = tuple(each.grid for each in volume.slices)
    return LabelPlanes(path, grids, thickness=0.0, complete=True, read=read)


def _merged(volumes: dict[str, NiftiVolume], label_of: dict[str, int], k: int) -> np.ndarray:
    """`[R, C]` labels of all classes in plane k."""
    grid = next(iter(volumes.values())).slices[k].grid
    labels = np.full((grid.rows, grid.columns), BACKGROUND, np.uint8)
    for path, volume in volumes.items():
        values = _values(volume, k, path)
        found = np.unique(values[values != 0])
        if len(found) > 1:
            raise InputError(
                f'{path}: has the values {listed(found)}, but a file in a folder of classes has '
                'only one besides 0; give a file with several labels by itself'
            )
        add_class(labels, values != 0, label_of[path], path)
    return labels


def _values(volume: NiftiVolume, k: int, path: str) -> np.ndarray:
    """`[R, C]` integers of plane k in patient orientation."""
    of = volume.slices[k]
    with naming(path):
        values = of.turn.apply(volume.stored(of))
    if (of.slope, of.intercept) != (1, 0):
        with np.errstate(over='ignore', invalid='ignore'):
            values = values * of.slope + of.intercept
    return whole_numbers(values, path)


def _table(extensions: bytes) -> Names:
    """The names in a table of labels, as TotalSegmentator and Connectome Workbench write it."""
    entries = TABLE_ENTRY.findall(extensions.decode('utf-8', 'replace'))
    return {int(key): (name.strip(),) for key, name in entries}
