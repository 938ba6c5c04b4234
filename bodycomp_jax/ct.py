"""Facts about CT that every part shares: the HU window, the tissues, pixel areas."""

WINDOW_CENTRE = 40  # HU
WINDOW_WIDTH = 400  # HU
GREY_LEVELS = 256

TISSUES = ('muscle', 'subcutaneous_fat', 'visceral_fat')  # labels 1, 2, 3; label 0 is background


def tissues(thoracic):
    """Names of the labels 1, 2, ...: a thoracic model does not know visceral fat."""
    return TISSUES[:2] if thoracic else TISSUES


def window(hu):
    """Maps HU to grey values: the soft-tissue window 40/400 becomes 0..255, clipped.

    The factor is 256/400, not 255/400, because published weights were trained with it.

    Args:
      hu: array of any shape, in Hounsfield units; numpy or jax.

    Returns:
      Array of the same shape, floats in 0..255.
    """
    lowest = WINDOW_CENTRE - WINDOW_WIDTH / 2
    return ((hu - lowest) * (GREY_LEVELS / WINDOW_WIDTH)).clip(0, GREY_LEVELS - 1)


def area_cm2(labels, label, pixel_spacing_mm):
    """Area that a label covers in each slice.

    Args:
      labels: `[..., H, W]` integers.
      label: the label to measure, for example 1 for muscle.
      pixel_spacing_mm: (row, column) distance between pixel centres in mm, as in DICOM's
        PixelSpacing (0028,0030).

    Returns:
      `[...]` areas in cm2.
    """
    row_mm, column_mm = pixel_spacing_mm
    return (labels == label).sum((-2, -1)) * (row_mm * column_mm / 100)
