"""Series that are drawn, and their labels, as DICOM files."""

import os
from collections.abc import Sequence

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat

from bodycomp_jax.data.masks.tissue_seg import MAKER, tissue_segmentation
from bodycomp_jax.data.scans import Series, Slice
from bodycomp_jax.data.scans.dicom_file import write_dicom
from bodycomp_jax.metrics.tinting import COLOURS

INTERCEPT = -1024
EMPTY = (
    'PatientBirthDate', 'PatientSex', 'AccessionNumber', 'StudyID', 'StudyDate', 'StudyTime',
    'ReferringPhysicianName', 'PositionReferenceIndicator',
)  # fmt: skip
TIMES = {'DA': '20000101', 'TM': '000000', 'DT': '20000101000000'}  # of what is made
SHORTEST, TALLEST = 1.5, 1.9  # m


def uid(*origin: str) -> str:
    """The identifier of what these texts decide."""
    return generate_uid(entropy_srcs=list(origin))


def write_series(folder: str, series: Series, patient: str) -> list[pydicom.Dataset]:
    """Writes a series, a file a slice, the first file that of the head.

    Args:
      folder: an existing one.
      series: of at least two slices.
      patient: PatientID, and PatientName too.

    Returns:
      the headers of the slices, in the order of the series.
    """
    headers = []
    for i, of in enumerate(series.slices):
        header = _header(series, of, patient)
        header.InstanceNumber = len(series) - i
        header.PixelData = (series.hu(i) - INTERCEPT).astype('<i2').tobytes()
        write_dicom(os.path.join(folder, f'{len(series) - i:04d}.dcm'), header)
        del header.PixelData
        headers.append(header)
    return headers


def write_labels(path: str, headers: Sequence[pydicom.Dataset], labels: np.ndarray) -> None:
    """Writes `[N, rows, columns]` uint8 labels, as in `ct.TISSUES`, of the slices with a header.

    The same labels are the same bytes at any time.
    """
    origin = [header.SOPInstanceUID for header in headers]
    made = tissue_segmentation(
        headers, labels, origin=origin, description='Body composition', colours=COLOURS
    )
    for element in made.iterall():
        if element.VR in TIMES and element.value:
            element.value = TIMES[element.VR]
        elif element.keyword == 'DimensionOrganizationUID':
            element.value = uid(*origin, 'dimensions')
    write_dicom(path, made)


def _header(series: Series, of: Slice, patient: str) -> pydicom.Dataset:
    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = UID(of.sop_instance_uid)
    header.SOPInstanceUID = of.sop_instance_uid
    header.PatientID, header.PatientName = patient, f'{patient}^'
    header.PatientSize = _decimal(_height(series.uid))
    header.StudyInstanceUID, header.SeriesInstanceUID = uid(series.uid, 'study'), series.uid
    header.FrameOfReferenceUID = series.frame_of_reference
    header.Modality, header.ImageType = 'CT', ['ORIGINAL', 'PRIMARY', 'AXIAL']
    header.SeriesDescription = 'Synthetic, no patient'
    header.Manufacturer, header.ManufacturerModelName = MAKER, 'phantom'
    header.ConvolutionKernel = 'phantom'
    header.SeriesNumber, header.AcquisitionNumber, header.KVP = 1, 1, 120
    header.PatientPosition = 'HFS'
    for empty in EMPTY:
        setattr(header, empty, '')
    grid = of.grid
    header.ImagePositionPatient = [_decimal(mm) for mm in grid.position]
    header.ImageOrientationPatient = [*grid.row_direction, *grid.column_direction]
    header.PixelSpacing = [_decimal(mm) for mm in grid.spacing]
    header.SliceThickness = _decimal(float(np.median(series.distances)))
    header.Rows, header.Columns = grid.rows, grid.columns
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, 'MONOCHROME2'
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation = 1
    header.RescaleIntercept, header.RescaleSlope = INTERCEPT, 1
    return header


def _height(origin: str) -> float:
    """m, to the centimetre."""
    share = int(origin[-4:]) / 10_000  # the digits of an identifier are as good as random
    return round(SHORTEST + share * (TALLEST - SHORTEST), 2)


def _decimal(value: float) -> DSfloat:
    return DSfloat(value, auto_format=True)
