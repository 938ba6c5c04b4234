"""The labels of the slices of an image, from a mask of any kind."""

import os
from typing import Protocol

import numpy as np

from bodycomp_jax.data.masks.dicom_seg import is_segmentation, open_segmentation
from bodycomp_jax.data.masks.label_images import LabelImages, is_label_image_name
from bodycomp_jax.data.masks.labels import LabelMap, Names
from bodycomp_jax.data.masks.nifti import open_class_files, open_nifti
from bodycomp_jax.data.masks.planes import LabelPlanes, PlanesMask
from bodycomp_jax.data.scans import Series
from bodycomp_jax.data.scans.nifti import is_nifti_name
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import explained

NIFTI, IMAGES, SEGMENTATION = 'NIfTI files', 'label images', 'a DICOM segmentation'
KINDS = (
    'a NIfTI file, a folder with one for each class, a DICOM SEG file, or PNG, .npy or TAG files'
)


class Mask(Protocol):
    """The labels of the slices of a series."""

    def labels(self, i: int) -> np.ndarray:
        """The labels of slice i on its own pixels: `[rows, columns]` uint8.

        0 background, 1 muscle, 2 subcutaneous fat, 3 visceral fat, 4 intermuscular fat where it
        is told apart, 255 not labelled; regions instead of tissues until `LabelMap.tissues` is
        applied. Raises InputError.
        """


def open_mask(
    path: str | os.PathLike[str],
    series: Series,
    label_map: LabelMap,
    *,
    names: Names | None = None,
    resample: bool = False,
) -> Mask:
    """The labels in a mask, on the pixels of an image.

    The labels are read slice by slice, when asked for.

    Args:
      path: a NIfTI file, or a folder with one for each class; a DICOM segmentation, or a folder
        with one; a label image (PNG, .npy or TAG), or a folder of them. In a folder, other files
        are ignored, but two kinds of masks are refused.
      series: the image.
      label_map: what the values of the mask mean.
      names: the names of its values, if they are known from elsewhere.
      resample: whether a mask on another grid is taken too; each pixel gets the nearest label.

    Raises InputError for other files and for another grid; UnexplainedLabelError, here or where the
    labels of a slice are read, for a value that nothing explains.
    """
    path, names = os.fspath(path), names or {}
    kind, files = _files_of_mask(path)
    if kind == IMAGES:
        return LabelImages(files, series, label_map, names)
    return PlanesMask(_planes(path, kind, files, label_map, names), series, resample=resample)


def open_planes(path: str, label_map: LabelMap, names: Names) -> LabelPlanes:
    """The labels in a mask that has positions. Errors as `open_mask`."""
    return _planes(path, *_files_of_mask(path), label_map, names)


def _planes(
    path: str, kind: str, files: list[str], label_map: LabelMap, names: Names
) -> LabelPlanes:
    if kind == NIFTI and os.path.isdir(path):
        return open_class_files(path, files, label_map)
    if len(files) != 1:
        raise InputError(f'{path}: {len(files)} files, expected {KINDS}')
    if kind == NIFTI:
        return open_nifti(path, label_map, names)
    return open_segmentation(files[0], label_map, names)


def _files_of_mask(path: str) -> tuple[str, list[str]]:
    """The kind of a mask and its files; pictures beside NIfTI files are previews.

    All files if none is of a known kind. Raises InputError for two kinds in a folder.
    """
    files = _files(path)
    nifti = [each for each in files if is_nifti_name(each)]
    images = [each for each in files if is_label_image_name(each)]
    if nifti:
        images = [each for each in images if not each.lower().endswith('.png')]
    others = [each for each in files if not (is_nifti_name(each) or is_label_image_name(each))]
    segmentations = [each for each in others if is_segmentation(each)]
    of_kind = {NIFTI: nifti, IMAGES: images, SEGMENTATION: segmentations}
    found = [(kind, of_this) for kind, of_this in of_kind.items() if of_this]
    if len(found) > 1:
        (kind, first), (other_kind, second), *_ = found
        raise InputError(
            f'{path}: both {kind} ({os.path.basename(first[0])}) and {other_kind} '
            f'({os.path.basename(second[0])}); give one of them'
        )
    return found[0] if found else ('', files)


def _files(path: str) -> list[str]:
    """The file itself, or the files in a folder."""
    if not os.path.lexists(path):
        raise InputError(f'{path}: no such file or folder; check the path of the mask')
    if not os.path.isdir(path):
        return [path]
    try:
        names = sorted(name for name in os.listdir(path) if not name.startswith('.'))
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({explained(error, "")})') from error
    return [each for each in (os.path.join(path, name) for name in names) if os.path.isfile(each)]
