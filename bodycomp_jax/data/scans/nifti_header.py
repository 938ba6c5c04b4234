"""The headers of NIfTI files."""

import dataclasses
from typing import Any, cast

import nibabel
import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.file_formats import other_format

HEADERS = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}  # by their first number
HEADER_BYTES = max(HEADERS)
MILLIMETRES = ('mm', 'unknown')
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the voxels are stored, and where they are in the patient.

    Attributes:
      shape: of three axes, the first of which runs fastest.
      dtype: of a voxel in the file.
      start: byte at which they begin.
      slope, intercept: from the numbers in the file to values.
      affine: `[4, 4]` from indices to LPS in mm.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    start: int
    slope: float
    intercept: float
    affine: np.ndarray


def read_layout(start: bytes) -> Layout:
    """What the first `HEADER_BYTES` of an inflated file say.

    Raises InputError for another file, and for voxels that are not numbers.
    """
    try:
        header = _header(start)
        slope, intercept = header.get_slope_inter()
        layout = Layout(
            shape=_shape(header),
            dtype=header.get_data_dtype(),
            start=int(header.get_data_offset()),
            slope=1.0 if slope is None else float(slope),
            intercept=0.0 if intercept is None else float(intercept),
            affine=_affine(header),
        )
    except InputError:
        raise
    except Exception as error:  # nibabel raises several types
        raise InputError(f'not a readable NIfTI header ({error}); copy it again') from error
    if layout.dtype.kind not in 'iuf':
        raise InputError(f'its voxels are {layout.dtype}; expected whole numbers or floats')
    if layout.start < len(header.binaryblock):
        raise InputError(
            f'its voxels begin at byte {layout.start}, within the header; the file is damaged, or '
            'one of a pair: convert it to a single .nii file'
        )
    return layout


def _header(start: bytes) -> nibabel.Nifti1Header:
    for order in ('little', 'big'):
        size = int.from_bytes(start[:4], cast(Any, order))
        if size in HEADERS and len(start) >= size:
            return HEADERS[size](start[:size], check=False)
        if size in HEADERS:
            raise InputError(f'not a NIfTI file, but {len(start)} bytes of one; copy it again')
    other = other_format(start, 'name files after their format')
    raise InputError(f'not a NIfTI file{f", but {other}" if other else ""}')


def _shape(header: nibabel.Nifti1Header) -> tuple[int, int, int]:
    shape = [int(n) for n in header.get_data_shape()]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    shape += [1] * (3 - len(shape))
    if len(shape) > 3 or not all(0 < n <= ct.MAX_SIDE for n in shape):
        raise InputError(
            f'{" x ".join(map(str, shape))} voxels; expected three dimensions of 1 to {ct.MAX_SIDE}'
        )
    return shape[0], shape[1], shape[2]


def _affine(header: nibabel.Nifti1Header) -> np.ndarray:
    """`[4, 4]` from indices of voxels to LPS in mm. Raises InputError if it is unknown."""
    if not (header['sform_code'] or header['qform_code']):
        raise InputError(
            'sform_code and qform_code are 0: orientation and position of the image are unknown; '
            'convert it again with its affine'
        )
    header['pixdim'][0] = -1 if header['pixdim'][0] < 0 else 1  # 0 means 1
    unit, affine = header.get_xyzt_units()[0], TO_LPS @ header.get_best_affine()
    if unit not in MILLIMETRES:
        raise InputError(f'its affine is in {unit}; expected mm')
    if not np.isfinite(affine).all():
        raise InputError('its affine holds numbers that are not finite; write the image again')
    return affine
