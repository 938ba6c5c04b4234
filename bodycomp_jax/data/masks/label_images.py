"""Masks in a label image per slice: PNG, .npy or TAG files, which have no positions.

A label image is of the slice whose identifier is in its header or name, or whose file has its name.
"""

import collections
import os
from collections.abc import Iterable

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.masks.labels import LabelMap, Names, whole_numbers
from bodycomp_jax.data.masks.tag import read_tag
from bodycomp_jax.data.npy import NpyRows
from bodycomp_jax.data.png import read_label_png
from bodycomp_jax.data.scans import Series
from bodycomp_jax.data.scans.nifti import is_nifti_name
from bodycomp_jax.errors import InputError

ENDINGS = ('.png', '.npy', '.tag')


def is_label_image_name(path: str) -> bool:
    """Whether a file is named as a label image."""
    return path.lower().endswith(ENDINGS)


class LabelImages:
    """The labels of the slices of a series, read when asked for."""

    def __init__(
        self, paths: Iterable[str], series: Series, label_map: LabelMap, names: Names
    ) -> None:
        """Finds the slice of each label image.

        Args:
          paths: of the label images.
          series: of the image.
          label_map: what their values mean.
          names: of their values.

        Raises InputError for one that is of no slice, and for two of the same slice.
        """
        self._series, self._label_map, self._names = series, label_map, names
        self._path_of = _slices_of(list(paths), series)

    def labels(self, i: int) -> np.ndarray:
        """The labels of slice i: `[rows, columns]` uint8, not labelled if it has no label image.

        Raises InputError for an image that cannot be read or has another size than the slice, and
        UnexplainedLabelError.
        """
        of, path = self._series.slices[i], self._path_of.get(i)
        if path is None:
            return np.full((of.grid.rows, of.grid.columns), ct.NOT_LABELLED, np.uint8)
        labels = of.turn.apply(self._label_map.labels(_read(path), self._names, path))
        if labels.shape != (of.grid.rows, of.grid.columns):
            raise InputError(
                f'{path}: {labels.shape[0]} x {labels.shape[1]} pixels, but its image {of.path} '
                f'has {of.grid.rows} x {of.grid.columns}; a label image has no position by which '
                'to resample it: save it with the pixels of the image'
            )
        return labels


def _slices_of(paths: list[str], series: Series) -> dict[int, str]:
    """{index of a slice: path of its label image}."""
    if any(is_nifti_name(each.path) for each in series.slices):
        raise InputError(
            f'{paths[0]}: a label image for a NIfTI file, whose slices have neither names nor '
            'rows; give the mask as NIfTI too'
        )
    slice_of = _slices_by_name(series)
    found: dict[int, str] = {}
    for path in paths:
        name, ending = os.path.splitext(os.path.basename(path))
        uid = read_tag(path).uid if ending.lower() == '.tag' else ''
        i = slice_of.get(uid, slice_of.get(name))
        if i is None and len(paths) == len(series) == 1:
            i = 0
        if i is None:
            raise InputError(
                f'{path}: is of none of the {len(series)} slices, such as '
                f'{series.slices[0].path}; name each label image after the file or the '
                'SOPInstanceUID of its slice'
            )
        if found.setdefault(i, path) != path:
            raise InputError(f'{path}: the slice has another label image, {found[i]}; remove one')
    return found


def _slices_by_name(series: Series) -> dict[str, int]:
    """{SOPInstanceUID, or name of the file with and without ending: index of the slice}."""
    slices_of: dict[str, set[int]] = collections.defaultdict(set)
    for i, each in enumerate(series.slices):
        name = os.path.basename(each.path)
        for key in (each.sop_instance_uid, name, os.path.splitext(name)[0]):
            slices_of[key].add(i)
    return {key: min(found) for key, found in slices_of.items() if key and len(found) == 1}


def _read(path: str) -> np.ndarray:
    """`[H, W]` integers, rows and columns as in the file of the image."""
    if path.lower().endswith('.png'):
        return read_label_png(path)
    if path.lower().endswith('.tag'):
        return read_tag(path).labels
    rows = NpyRows(path)
    shape = tuple(n for n in rows.shape if n != 1) if len(rows.shape) > 2 else rows.shape
    if len(shape) != 2 or max(shape) > ct.MAX_SIDE or rows.dtype.kind == 'c':
        raise InputError(
            f'{path}: {rows.dtype} of shape {rows.shape}, expected a label per pixel of one slice, '
            '[rows, columns]; slices in one file have no positions: save a file for each'
        )
    return whole_numbers(rows.read_span(0, len(rows)).reshape(shape), path)
