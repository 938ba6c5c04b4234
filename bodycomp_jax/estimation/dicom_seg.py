"""The tissues of a slice as a DICOM segmentation on its image."""

import highdicom
import numpy as np
import pydicom
from highdicom.color import CIELabColor
from highdicom.seg import SegmentDescription
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from bodycomp_jax import ct
from bodycomp_jax.estimation.dicom_source import Source
from bodycomp_jax.metrics.figures import COLOURS
from bodycomp_jax.runtime.files import replacing
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
    tissues = ct.IN_MASKS if (labels == ct.INTERMUSCULAR_FAT).any() else ct.TISSUES
    origin = [
        source.image.SOPInstanceUID,
        str(source.frame),
        level,
        model or '',
        labels.tobytes().hex(),
    ]
    made = highdicom.seg.Segmentation(
        [source.image],
        labels[None],
        'BINARY',
        [_segment(n, tissue, model) for n, tissue in enumerate(tissues, 1)],
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
        series_description=f'Body composition, {level}',
    )
    source.complete(made)
    return made


def write_dicom(path: str, dataset: pydicom.Dataset) -> None:
    """Writes an object. Raises OSError that names the path."""
    with replacing(path, binary=True) as file:
        pydicom.dcmwrite(file, dataset, enforce_file_format=True)


def _segment(number: int, tissue: str, model: str | None) -> SegmentDescription:
    algorithm = None
    if model is not None:
        algorithm = highdicom.AlgorithmIdentificationSequence(
            MAKER, codes.DCM.ArtificialIntelligence, VERSION, parameters={'model': model}
        )
    return SegmentDescription(
        number,
        tissue.replace('_', ' ').capitalize(),
        codes.SCT.Tissue,
        TYPES[tissue],
        'AUTOMATIC' if algorithm else 'MANUAL',
        algorithm,
        anatomic_regions=REGIONS.get(tissue),
        display_color=CIELabColor.from_rgb(*COLOURS[tissue]),
    )
