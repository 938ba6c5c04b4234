"""What the header of a DICOM file says of each of its slices."""

import dataclasses
import io
import os

import pydicom
from pydicom.filereader import read_partial

from bodycomp_jax.data.scans.grid import Grid, refuse_invalid
from bodycomp_jax.data.scans.tags import TAGS, Elements
from bodycomp_jax.errors import InputError


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """A slice as its file describes it; grid as stored."""

    path: str
    frame: int
    grid: Grid
    sop_instance_uid: str
    series: tuple[str, ...]  # what all slices of a series have in common
    acquisition: str
    time: str
    instance: str
    slope: float | None
    intercept: float | None


def read_headers(path: str) -> list[Header]:
    """The header of each slice in a file. Raises InputError with the reason if it has none."""
    with open(path, 'rb') as file:
        try:
            dataset = pydicom.dcmread(
                file, stop_before_pixels=True, specific_tags=list(TAGS.values())
            )
        except Exception as error:
            raise InputError(f'{path}: not a readable DICOM file ({error})') from error
    elements = Elements(dataset, path)
    if elements.text('Modality') != 'CT':
        raise InputError(f'{path}: not CT')
    position = elements.numbers('ImagePositionPatient', 3)
    orientation = elements.numbers('ImageOrientationPatient', 6)
    spacing = elements.numbers('PixelSpacing', 2)
    if position is None or orientation is None or spacing is None:
        raise InputError(f'{path}: no position')
    grid = Grid(
        elements.integer('Rows'),
        elements.integer('Columns'),
        spacing,
        position,
        orientation[:3],
        orientation[3:],
    )
    try:
        refuse_invalid(grid)
    except InputError as error:
        raise InputError(f'{path}: {error}') from None
    uid = elements.text('SeriesInstanceUID')
    return [
        Header(
            path,
            0,
            grid,
            elements.text('SOPInstanceUID'),
            (
                uid,
                elements.text('PatientID'),
                '' if uid else os.path.dirname(path),
                elements.text('FrameOfReferenceUID'),
            ),
            elements.text('AcquisitionNumber'),
            elements.text('AcquisitionTime'),
            elements.text('InstanceNumber'),
            elements.number('RescaleSlope'),
            elements.number('RescaleIntercept'),
        )
    ]
