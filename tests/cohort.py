"""Phantoms as people have scans: DICOM series, segmentation objects and NIfTI files."""

import csv

import highdicom
import nibabel
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from bodycomp_jax import ct
from bodycomp_jax.data import phantom

SIDE, SPACING = 64, 20.0  # pixels, mm between slices
FIELD_OF_VIEW = phantom.Scanner().field_of_view
PIXEL = FIELD_OF_VIEW / SIDE
BODY_MM = 28.0  # of a vertebra along z
TOTALSEGMENTATOR = {'L5': 27, 'L4': 28, 'L3': 29, 'L2': 30, 'L1': 31, 'T12': 32}
ORIGIN = -FIELD_OF_VIEW / 2 + PIXEL / 2  # mm, of the first row and column


def draw(seed, spacing=SPACING):
    """The phantom of a seed, at the size of these tests."""
    return phantom.draw(seed, SIDE, spacing)


def vertebra_labels(trunk, spacing=SPACING):
    """`[N, side, side]` labels of TotalSegmentator: a box for each vertebra."""
    labels = np.zeros(trunk.labels.shape, np.uint8)
    middle = slice(SIDE // 2 - 3, SIDE // 2 + 3)
    for level, number in TOTALSEGMENTATOR.items():
        inside = np.abs(trunk.z - trunk.levels[level]) < BODY_MM / 2
        labels[inside, middle, middle] = number
    return labels


def write_dicom(folder, trunk, patient, spacing=SPACING):
    """Writes a series, a file a slice, in descending order of z; returns its headers."""
    folder.mkdir(parents=True)
    series, study, frame = (generate_uid(entropy_srcs=[patient, name]) for name in 'abc')
    headers = []
    for i, (z, hu) in enumerate(zip(trunk.z, trunk.hu, strict=True)):
        header = _header(patient, series, study, frame)
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid(
            entropy_srcs=[patient, str(i)]
        )
        header.InstanceNumber = i + 1
        header.ImagePositionPatient = [ORIGIN, ORIGIN, float(z)]
        header.SliceThickness = spacing
        header.PixelData = (hu + 1024).astype('<u2').tobytes()
        header.save_as(folder / f'{len(trunk.z) - i:03d}.dcm', enforce_file_format=True)
        headers.append(header)
    return headers


def write_seg(path, headers, labels, names=ct.TISSUES):
    """Writes labels 1, 2, ... with these names as a DICOM segmentation of the slices."""
    tissue = CodedConcept('85756007', 'SCT', 'Tissue')
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=tissue,
            segmented_property_type=CodedConcept(f'{number}', '99TEST', name),
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(names, start=1)
    ]
    highdicom.seg.Segmentation(
        headers,
        labels,
        'BINARY',
        segments,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer='test',
        manufacturer_model_name='test',
        software_versions='1',
        device_serial_number='1',
    ).save_as(path)


def write_nifti(path, slices, spacing=SPACING):
    """Writes `[N, side, side]` slices, rows to the left and columns to the back, as RAS."""
    affine = np.diag([-PIXEL, -PIXEL, spacing, 1.0])
    affine[:2, 3] = -ORIGIN
    nibabel.save(nibabel.Nifti1Image(slices.transpose(2, 1, 0), affine), path)


def write_table(path, rows):
    """Writes a CSV file with a row for each dict."""
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _header(patient, series, study, frame):
    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.PatientID, header.PatientName = patient, f'{patient}^Name'
    header.SeriesInstanceUID, header.StudyInstanceUID = series, study
    header.FrameOfReferenceUID = frame
    header.Modality, header.ImageType = 'CT', ['ORIGINAL', 'PRIMARY', 'AXIAL']
    header.SeriesNumber, header.AcquisitionNumber = 1, 1
    for empty in (
        'PatientBirthDate', 'PatientSex', 'AccessionNumber', 'StudyID', 'StudyDate', 'StudyTime',
        'ReferringPhysicianName', 'Manufacturer', 'PositionReferenceIndicator',
    ):  # fmt: skip
        setattr(header, empty, '')
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.PixelSpacing = [PIXEL, PIXEL]
    header.Rows = header.Columns = SIDE
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, 'MONOCHROME2'
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation = 0
    header.RescaleIntercept, header.RescaleSlope = -1024, 1
    return header
