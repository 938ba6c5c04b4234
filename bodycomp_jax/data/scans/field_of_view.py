"""What of the body lies outside the field of view of a slice."""

import numpy as np
from scipy import ndimage

from bodycomp_jax.data.scans.hu import AIR

BODY = -300  # HU that skin and everything below exceed, and air, clothes and foam do not


def cut_share(hu: np.ndarray) -> float:
    """Share of the outline of the body that lies at the edge of the field of view.

    The edge is that of the picture, or of the region where the scanner gives values.

    Args:
      hu: `[rows, columns]` as `Series.hu` gives it.

    Returns:
      0 for a body that is shown whole, up to 1; 0 without a body.
    """
    parts, count = ndimage.label(hu > BODY)
    if count == 0:
        return 0.0
    largest = 1 + np.argmax(np.bincount(parts.ravel())[1:])
    body = np.pad(ndimage.binary_fill_holes(parts == largest), 1)
    nowhere = np.pad(hu <= AIR, 1, constant_values=True)
    outline = body & ~ndimage.binary_erosion(body)
    at_edge = outline & ndimage.binary_dilation(nowhere)
    return float(at_edge.sum() / outline.sum())
