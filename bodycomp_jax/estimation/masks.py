"""Which masks in a folder are of which series."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data.masks.labels import LabelMap
from bodycomp_jax.data.masks.mask import Mask, open_mask
from bodycomp_jax.data.scans import Series
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.estimation.result import NotMeasured
from bodycomp_jax.runtime.files import explained

ENDINGS = ('.nii.gz', '.nii', '.dcm', '.png', '.npy', '.tag', '')  # '' is also that of a folder


@dataclasses.dataclass(frozen=True)
class JoinedMasks:
    """Masks of different slices of a series as one."""

    masks: Sequence[Mask]

    def labels(self, i: int) -> np.ndarray:
        """The labels of slice i in the first mask that has some; as those of `Mask`."""
        for mask in self.masks:
            labels = mask.labels(i)
            if (labels != ct.NOT_LABELLED).any():
                break
        return labels


def open_masks(
    masks: str, series: Series, label_map: LabelMap, *, alone: bool, resample: bool
) -> Mask:
    """The mask of a series, or those of its slices as one.

    Args:
      masks: a folder; for a single series also its mask itself.
      series: the series.
      label_map: what the values of the masks mean.
      alone: whether it is the only series.
      resample: whether masks on another grid are taken too.

    Raises NotMeasured if there is none; InputError if there are several of all slices or the folder
    cannot be read, and as `open_mask`.
    """
    paths = mask_paths(masks, series, alone=alone)
    opened = [open_mask(path, series, label_map, resample=resample) for path in paths]
    return opened[0] if len(opened) == 1 else JoinedMasks(opened)


def mask_paths(masks: str, series: Series, *, alone: bool) -> list[str]:
    """The masks of a series, which have its name or SeriesInstanceUID.

    A file or folder named so is the mask; without one, those in whose names an underscore and more
    follows, as in the segmentations that this program writes, are of its slices.

    Raises NotMeasured and InputError as `open_masks`.
    """
    try:
        names = sorted(os.listdir(masks)) if os.path.isdir(masks) else []
    except OSError as error:
        raise InputError(explained(error, masks)) from error
    of_series = {name for name in (series.name, series.uid) if name}
    stems = {name: _stem(name) for name in names}
    found = [name for name in names if stems[name] in of_series]
    if len(found) == 1:
        return [os.path.join(masks, found[0])]
    if not found:
        of_slices = {
            stems[name]: name
            for name in names
            if name != stems[name] and stems[name].partition('_')[0] in of_series
        }
        found = [name for name in names if stems[name] in of_slices]
        if found and len(found) == len(of_slices):
            return [os.path.join(masks, name) for name in found]
    if alone and not found:
        return [masks]
    if not found:
        raise NotMeasured(
            'no_mask',
            f'{masks}: no mask of the series {series.name}; name it {series.name}.nii.gz or .dcm, '
            'or so a folder with a label image (.png, .npy or .tag) for each slice',
        )
    raise InputError(f'{masks}: {listed(found)} are masks of the same slices; keep one')


def _stem(name: str) -> str:
    """The name of a file without the ending of masks."""
    return next(name.removesuffix(end) for end in ENDINGS if name.endswith(end))
