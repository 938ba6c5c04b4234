"""Which mask in a folder is of which series."""

import os

from bodycomp_jax.data.scans import Series
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.estimation.result import NotMeasured
from bodycomp_jax.runtime.files import explained

ENDINGS = ('.nii.gz', '.nii', '.dcm', '.png', '.npy', '.tag', '')  # '' is also that of a folder


def mask_path(masks: str, series: Series, *, alone: bool) -> str:
    """The mask of a series: the file or folder with its name or SeriesInstanceUID.

    Args:
      masks: a folder; for a single series also its mask itself.
      series: the series.
      alone: whether it is the only one.

    Raises NotMeasured if there is none, InputError if there are several or the folder cannot be
    read.
    """
    try:
        names = sorted(os.listdir(masks)) if os.path.isdir(masks) else []
    except OSError as error:
        raise InputError(explained(error, masks)) from error
    wanted = {f'{name}{end}' for name in (series.name, series.uid) if name for end in ENDINGS}
    found = [name for name in names if name in wanted]
    if len(found) == 1:
        return os.path.join(masks, found[0])
    if alone and not found:
        return masks
    if not found:
        raise NotMeasured(
            'no_mask',
            f'{masks}: no mask of the series {series.name}; name it {series.name}.nii.gz, .dcm, '
            '.png or .npy, or a folder of such files so',
        )
    raise InputError(f'{masks}: {listed(found)} are all masks of one series; keep one')
