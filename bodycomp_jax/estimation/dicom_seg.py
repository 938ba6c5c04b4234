"""The tissues of a slice as a DICOM segmentation on its image."""

import numpy as np
import pydicom

from bodycomp_jax import ct
from bodycomp_jax.data.masks.tissue_seg import tissue_segmentation
from bodycomp_jax.estimation.dicom_source import Source
from bodycomp_jax.metrics.tinting import COLOURS


def segmentation(
    source: Source, labels: np.ndarray, *, level: str, model: str | None
) -> pydicom.Dataset:
    """A binary segmentation of a slice, with a segment for each tissue.

    Fat in muscle is another segment where it is labelled apart.

    Args:
      source: the slice.
      labels: `[rows, columns]` in patient orientation; all but `ct.IN_MASKS` is background.
      level: such as 'L3', for the description.
      model: what identifies the networks; None if people made the labels.

    The same labels of the same slice have the same identifiers.
    """
    labels = source.turn.undo(np.where(labels > len(ct.IN_MASKS), 0, labels).astype(np.uint8))
    made = tissue_segmentation(
        [source.image],
        labels[None],
        origin=[
            source.image.SOPInstanceUID,
            str(source.frame),
            level,
            model or '',
            labels.tobytes().hex(),
        ],
        description=f'Body composition, {level}',
        colours=COLOURS,
        model=model,
    )
    source.complete(made)
    return made
