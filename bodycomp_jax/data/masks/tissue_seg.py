"""The tissues of slices as a DICOM segmentation on their images."""

from collections.abc import Mapping, Sequence

import highdicom
import numpy as np
import pydicom
from highdicom.color import CIELabColor
from highdicom.seg import SegmentDescription
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from bodycomp_jax import ct
from bodycomp_jax.runtime.versions import versions

MAKER = 'bodycomp_jax'
VERSION = versions((MAKER,))[MAKER]
SERIES_NUMBER = 901
TYPES = {  # codes of the tissues; none exists for visceral fat and fat in muscle
    'muscle': codes.SCT.SkeletalMuscle,
    'subcutaneous_fat': CodedConcept('67769002', 'SCT', 'Subcutaneous fatty tissue'),
    'visceral_fat': CodedConcept('55603005', 'SCT', 'Adipose tissue'),
    'intermuscular_fat': CodedConcept('55603005', 'SCT', 'Adipose tissue'),
}
REGIONS = {'visceral_fat': [codes.SCT.Abdomen]}


def tissue_segmentation(
    images: Sequence[pydicom.Dataset],
    labels: np.ndarray,
    *,
    origin: Sequence[str],
    description: str,
    colours: Mapping[str, tuple[int, int, int]],
    model: str | None = None,
) -> pydicom.Dataset:
    """A binary segmentation with a segment for each tissue, and for fat in muscle that is shown.

    Args:
      images: N images of a series, which need no pixels.
      labels: `[N, rows, columns]` uint8, as in `ct.IN_MASKS`.
      origin: what decides the identifiers.
      description: of the series.
      colours: RGB of each tissue.
      model: what identifies the networks that made the labels; None if none did.
    """
    tissues = ct.IN_MASKS if (labels == ct.INTERMUSCULAR_FAT).any() else ct.TISSUES
    return highdicom.seg.Segmentation(
        images,
        labels,
        'BINARY',
        [_segment(n, tissue, colours[tissue], model) for n, tissue in enumerate(tissues, 1)],
        series_instance_uid=generate_uid(entropy_srcs=['series', *origin]),
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(entropy_srcs=['instance', *origin]),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=VERSION,
        device_serial_number=VERSION,
        content_label='BODY_COMPOSITION',
        omit_empty_frames=bool(labels.any()),
        series_description=description,
    )


def _segment(
    number: int, tissue: str, colour: tuple[int, int, int], model: str | None
) -> SegmentDescription:
    algorithm = None
    if model is not None:
        algorithm = highdicom.AlgorithmIdentificationSequence(
            MAKER, codes.DCM.ArtificialIntelligence, VERSION, parameters={'model': model}
        )
    return SegmentDescription(
        number,
        ct.spaced(tissue).capitalize(),
        codes.SCT.Tissue,
        TYPES[tissue],
        'AUTOMATIC' if algorithm else 'MANUAL',
        algorithm,
        anatomic_regions=REGIONS.get(tissue),
        display_color=CIELabColor.from_rgb(*colour),
    )
