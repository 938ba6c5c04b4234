"""An image of a few small slices and masks of it in the formats that people have."""

import nibabel
import numpy as np
import pydicom
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from bodycomp_jax.data.scans import Grid, Series, Slice, Turn

SPACING = 5.0, 0.8, 0.7  # mm between slices, rows, columns
ORIGIN = -20.0, -35.5, 100.25  # mm, LPS
SHAPE = 6, 9, 11  # slices, rows, columns: bits of a frame do not fill bytes
PATTERN = np.random.default_rng(0).choice([0, 1, 2, 3, 255], SHAPE).astype(np.uint8)


def series_of(shape=SHAPE, spacing=SPACING, origin=ORIGIN, turn=None):
    """A series of such slices without files, named i.dcm; pixels as in its files after `turn`."""
    slices = []
    for i in range(shape[0]):
        x, y, z = origin[0], origin[1], origin[2] + i * spacing[0]
        grid = Grid(shape[1], shape[2], spacing[1:], (x, y, z), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
        slices.append(Slice(grid, z, f'/scan/{i}.dcm', f'1.2.{i}', 0, turn or Turn(), 1.0, 0.0))
    return Series(tuple(slices), '1.2', 'series', None, None)


def labels_of(mask, count=SHAPE[0]):
    """`[N, rows, columns]` labels of all slices."""
    return np.stack([mask.labels(i) for i in range(count)])


def affine_of(spacing=SPACING, origin=ORIGIN):
    """From (column, row, slice) to RAS, as NIfTI has it."""
    steps = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    steps[:3, 3] = -origin[0], -origin[1], origin[2]
    return steps


def save_nifti(path, labels, *, affine=None, codes='LPS', header=None):
    """Writes `[slices, rows, columns]` with its axes in this order."""
    affine = affine_of() if affine is None else affine
    image = nibabel.Nifti1Image(labels.transpose(2, 1, 0), affine, header)
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(codes))
    nibabel.save(image.as_reoriented(turn), path)


def save_segmentation(
    path, segments, *, kind='BINARY', upwards=False, spacing=SPACING, change=None
):
    """Writes a DICOM SEG with a frame for each non-empty slice of each segment, the last first.

    Args:
      path: of the file.
      segments: {label: `[slices, rows, columns]`}, 0..255 if FRACTIONAL; numbered from 1. In a
        LABELMAP the first has the numbers of all.
      kind: SegmentationType.
      spacing: mm between slices, rows, columns.
      upwards: whether the rows of the frames run from back to front.
      change: of the dataset before it is written.
    """
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.SegmentationStorage, '1.2.9'
    dataset.Modality, dataset.SegmentationType = 'SEG', kind
    dataset.SegmentSequence = [_segment(n, label) for n, label in enumerate(segments, 1)]
    frames = [
        (number, i, stack[i, ::-1] if upwards else stack[i])
        for number, stack in enumerate(segments.values(), 1)
        for i in reversed(range(len(stack)))
        if stack[i].any() and (number == 1 or kind != 'LABELMAP')
    ]
    pixels = np.stack([pixels for _, _, pixels in frames]).astype(np.uint8)
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, 'MONOCHROME2'
    dataset.BitsAllocated = dataset.BitsStored = 1 if kind == 'BINARY' else 8
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    data = np.packbits(pixels, bitorder='little') if kind == 'BINARY' else pixels
    dataset.add_new('PixelData', 'OB', data.tobytes() + bytes(data.size % 2))
    dataset.SharedFunctionalGroupsSequence = [_shared(spacing, upwards)]
    x, y, z = ORIGIN
    y += (dataset.Rows - 1) * spacing[1] if upwards else 0
    dataset.PerFrameFunctionalGroupsSequence = [
        _of_frame(number, [x, y, z + i * spacing[0]]) for number, i, _ in frames
    ]
    if change is not None:
        change(dataset)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def _segment(number, label):
    segment, code = pydicom.Dataset(), pydicom.Dataset()
    segment.SegmentNumber, segment.SegmentLabel = number, label
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = (
        f'T-{number}',
        '99TEST',
        'Tissue',
    )
    segment.SegmentedPropertyTypeCodeSequence = [code]
    return segment


def _shared(spacing, upwards):
    groups, orientation, measures = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, -1 if upwards else 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [*spacing[1:]], spacing[0]
    groups.PlaneOrientationSequence, groups.PixelMeasuresSequence = [orientation], [measures]
    return groups


def _of_frame(number, place):
    groups, position, segment = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    position.ImagePositionPatient, segment.ReferencedSegmentNumber = place, number
    groups.PlanePositionSequence, groups.SegmentIdentificationSequence = [position], [segment]
    return groups
