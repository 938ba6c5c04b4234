"""The numbers of a slice as a DICOM structured report (TID 1500) on its segmentation."""

from collections.abc import Mapping
from typing import NamedTuple

import pydicom
from highdicom import sr
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from bodycomp_jax import ct
from bodycomp_jax.data.masks.tissue_seg import MAKER, TYPES, VERSION
from bodycomp_jax.estimation.dicom_source import Source

SERIES_NUMBER = 902
AREA = sr.CodedConcept('42798000', 'SCT', 'Area')
ATTENUATION = sr.CodedConcept('112031', 'DCM', 'Attenuation Coefficient')
CM2 = sr.CodedConcept('cm2', 'UCUM', 'square centimeter')
HU = sr.CodedConcept("[hnsf'U]", 'UCUM', 'Hounsfield unit')
NOT_VERTEBRAE = codes.SCT.Abdomen  # the site of slices at no known vertebra


class Statistic(NamedTuple):
    """What a number is, its unit, and how it sums up the pixels."""

    name: sr.CodedConcept
    unit: sr.CodedConcept
    derivation: Code | None = None


STATISTICS = {
    'area_cm2': Statistic(AREA, CM2),
    'mean_hu': Statistic(ATTENUATION, HU, codes.SCT.Mean),
    'median_hu': Statistic(ATTENUATION, HU, codes.SCT.Median),
    'std_hu': Statistic(ATTENUATION, HU, codes.SCT.StandardDeviation),
}


def structured_report(
    source: Source,
    segmentation: pydicom.Dataset,
    numbers: Mapping[str, float | None],
    *,
    level: str,
    model: str | None,
) -> pydicom.Dataset:
    """A report of the areas and the HU of the tissues that a slice shows.

    Args:
      source: the slice.
      segmentation: of the slice; the same one has the same report.
      numbers: {`{tissue}_{statistic}`: value} with the names of `STATISTICS`. Others are ignored,
        and what is unknown is left out.
      level: such as 'L3'; if it is a vertebra, the site of the findings.
      model: what identifies the networks; None if people made the labels.
    """
    uid = segmentation.SOPInstanceUID
    findings = _findings(source, segmentation, numbers, level, model)
    device = sr.DeviceObserverIdentifyingAttributes(
        generate_uid(entropy_srcs=[MAKER]), MAKER, MAKER, MAKER
    )
    content = sr.MeasurementReport(
        sr.ObservationContext(sr.ObserverContext(codes.DCM.Device, device)),
        procedure_reported=codes.SCT.ComputedTomography,
        imaging_measurements=findings,
        title=codes.DCM.ImagingMeasurementReport,
    )
    made = sr.EnhancedSR(
        [source.image, segmentation],
        content[0],
        series_instance_uid=generate_uid(entropy_srcs=['series of report', uid]),
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(entropy_srcs=['report', uid]),
        instance_number=1,
        manufacturer=MAKER,
        is_complete=True,
        series_description=f'Body composition, {level}: report',
    )
    source.complete(made)
    return made


def _findings(
    source: Source,
    segmentation: pydicom.Dataset,
    numbers: Mapping[str, float | None],
    level: str,
    model: str | None,
) -> list[sr.PlanarROIMeasurementsAndQualitativeEvaluations]:
    uid = segmentation.SOPInstanceUID
    frames = None if source.frame is None else [source.frame]
    image = sr.SourceImageForSegmentation(source.sop_class, source.image.SOPInstanceUID, frames)
    site = sr.FindingSite(getattr(codes.SCT, f'{level}Vertebra', NOT_VERTEBRAE))
    algorithm = None
    if model is not None:
        algorithm = sr.AlgorithmIdentification(MAKER, VERSION, [f'model={model}'])
    findings = []
    for frame, groups in enumerate(segmentation.PerFrameFunctionalGroupsSequence, 1):
        segment = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        tissue = ct.IN_MASKS[segment - 1]
        finding = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            sr.TrackingIdentifier(generate_uid(entropy_srcs=[uid, tissue]), f'{level}, {tissue}'),
            referenced_segment=sr.ReferencedSegmentationFrame(
                segmentation.SOPClassUID, uid, frame, segment, image
            ),
            finding_type=TYPES[tissue],
            finding_category=codes.SCT.Tissue,
            finding_sites=[site],
            algorithm_id=algorithm,
            measurements=_measurements(tissue, numbers),
        )
        findings.append(finding)
    return findings


def _measurements(tissue: str, numbers: Mapping[str, float | None]) -> list[sr.Measurement]:
    known = ((of, numbers.get(f'{tissue}_{name}')) for name, of in STATISTICS.items())
    return [
        sr.Measurement(of.name, value, of.unit, derivation=of.derivation)
        for of, value in known
        if value is not None
    ]
