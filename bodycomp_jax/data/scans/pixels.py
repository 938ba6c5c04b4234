"""HU of a slice in a DICOM file."""

import numpy as np
import pydicom
from pydicom.pixels import pixel_array

from bodycomp_jax.data.scans.series import Slice

AIR = -1024


def read_hu(of: Slice) -> np.ndarray:
    """`[rows, columns]` int16 HU as stored."""
    stored = pixel_array(of.path, raw=True, index=of.frame)
    hu = np.rint(stored * of.slope + of.intercept)
    return np.maximum(hu, AIR).astype(np.int16)
