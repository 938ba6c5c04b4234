"""Small DICOM and NIfTI files of synthetic CT."""

import nibabel
import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

AXIAL = (1, 0, 0, 0, 1, 0)
HU = np.random.default_rng(0).integers(-1000, 1000, (6, 8), np.int16)
ELEMENTS = {
    'SOPClassUID': CTImageStorage,
    'Modality': 'CT',
    'ImageType': ['ORIGINAL', 'PRIMARY', 'AXIAL'],
    'PatientID': 'P1',
    'StudyInstanceUID': '1.2.3',
    'SeriesInstanceUID': '1.2.3.4',
    'FrameOfReferenceUID': '1.2.3.5',
    'ImageOrientationPatient': list(AXIAL),
    'PixelSpacing': [0.75, 0.5],
    'SamplesPerPixel': 1,
    'PhotometricInterpretation': 'MONOCHROME2',
    'BitsAllocated': 16,
    'BitsStored': 16,
    'HighBit': 15,
    'PixelRepresentation': 1,
    'RescaleSlope': 1,
    'RescaleIntercept': -24,
}


def write_slice(path, hu=HU, *, z=0.0, syntax=ExplicitVRLittleEndian, bare=False, **elements):
    """Writes a DICOM file of these HU; None leaves an element out, `bare` the preamble."""
    own = {
        'SOPInstanceUID': f'1.2.3.4.{round(z * 1000)}'.replace('-', '9'),
        'ImagePositionPatient': [-10, -20, z],
        'Rows': hu.shape[0],
        'Columns': hu.shape[1],
        'PixelData': (hu + 24).astype(np.int16).tobytes(),
    }
    merged = ELEMENTS | own | elements
    dataset = item(**{keyword: value for keyword, value in merged.items() if value is not None})
    if bare:
        pydicom.dcmwrite(path, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=True)
        return
    if syntax.is_encapsulated:
        dataset['PixelData'].VR = 'OB'
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get('SOPClassUID') or CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get('SOPInstanceUID') or '1.2'
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def write_enhanced(path, orientations=(AXIAL, AXIAL), **elements):
    """Writes a multi-frame file with a frame for each orientation, 1 mm apart, from the head down.

    Frame i has the value 10 * i everywhere.
    """
    count = len(orientations)
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=[0.75, 0.5])],
        PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-24)],
        CTExposureSequence=[item(ExposureInmAs=12.5)],
    )
    frames = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[-10, -20, -i])],
            PlaneOrientationSequence=[item(ImageOrientationPatient=list(orientation))],
            FrameContentSequence=[item(FrameAcquisitionDateTime='20260102101500')],
        )
        for i, orientation in enumerate(orientations)
    ]
    moved = ('ImagePositionPatient', 'ImageOrientationPatient', 'PixelSpacing', 'RescaleSlope')
    defaults = {
        'SOPClassUID': EnhancedCTImageStorage,
        'NumberOfFrames': count,
        'SharedFunctionalGroupsSequence': [shared],
        'PerFrameFunctionalGroupsSequence': frames,
        'PixelData': np.repeat(np.arange(count) * 10 + 24, HU.size).astype(np.int16).tobytes(),
        **dict.fromkeys((*moved, 'RescaleIntercept')),
    }
    write_slice(path, **defaults | elements)


def item(**elements):
    """A dataset with these elements."""
    dataset = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def replace_bytes(path, old, new):
    """Replaces bytes of a file that it has exactly once."""
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def write_nifti(path, array, affine=None, **fields):
    """Writes a NIfTI file with an affine (1 mm, RAS by default) and these header fields."""
    image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine)
    nibabel.save(image, path)
    if fields:
        for field, value in ({'vox_offset': 352} | fields).items():
            image.header[field] = value
        header = image.header.binaryblock
        path.write_bytes(header + path.read_bytes()[len(header) :])
