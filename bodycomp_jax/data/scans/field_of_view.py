"""What of the body lies outside the field of view of a slice."""

import numpy as np
from scipy import ndimage

from bodycomp_jax.ct import AIR

BODY = -300  # HU that skin and everything below exceed, and air, clothes and foam do not
NOT_ROUND = 0.02  # difference of the sides of a field of view, as a fraction


def cut_share(hu: np.ndarray) -> float:
    """Share of the outline of the body that lies at the edge of the field of view.

    The edge is that of the picture, or of the region where the scanner gives values. Where a body
    was cut out of its surroundings, that region is the body, and the edge that of the picture.

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
    outside = hu <= AIR if _is_field_of_view(hu > AIR) else np.zeros_like(hu, bool)
    nowhere = np.pad(outside, 1, constant_values=True)
    outline = body & ~ndimage.binary_erosion(body)
    at_edge = outline & ndimage.binary_dilation(nowhere)
    return float(at_edge.sum() / outline.sum())


def _is_field_of_view(shown: np.ndarray) -> bool:
    """Whether a region is as high as wide, as a circle is, or reaches two opposite edges."""
    rows, columns = (np.flatnonzero(shown.any(axis)) for axis in (1, 0))
    spans = [(each[0], each[-1]) for each in (rows, columns)]
    if any(span == (0, n - 1) for span, n in zip(spans, shown.shape, strict=True)):
        return True
    height, width = (last - first + 1 for first, last in spans)
    return abs(height - width) <= NOT_ROUND * max(height, width)
