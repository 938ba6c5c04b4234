"""The pixels of a slice as files for other programs."""

import gzip

import nibabel
import numpy as np
from PIL import Image

from bodycomp_jax import ct
from bodycomp_jax.data.masks.planes import DEFAULT_GAP
from bodycomp_jax.data.scans import Series, Slice
from bodycomp_jax.metrics.tinting import label_colours
from bodycomp_jax.runtime.files import replacing


def write_nifti(path: str, series: Series, i: int, pixels: np.ndarray) -> None:
    """Writes a slice as a NIfTI file of one slice, where it is in the patient.

    Args:
      path: of the file, compressed if it ends with .gz.
      series: to which the slice belongs.
      i: index of the slice.
      pixels: `[rows, columns]` of the slice in patient orientation, such as labels or HU.

    Raises OSError that names the path.
    """
    grid = series.slices[i].grid
    along, down = np.array(grid.row_direction), np.array(grid.column_direction)
    gaps = [mm for mm in series.distances[max(0, i - 1) : i + 1] if mm > 0]
    affine = np.eye(4)
    affine[:3, 0] = along * grid.spacing[1]
    affine[:3, 1] = down * grid.spacing[0]
    affine[:3, 2] = np.array(grid.normal) * min(gaps, default=DEFAULT_GAP)
    affine[:3, 3] = grid.position
    affine[:2] *= -1  # from LPS, as in DICOM, to RAS
    image = nibabel.Nifti1Image(pixels.T[..., None], affine)
    image.header.set_xyzt_units('mm')
    content = image.to_bytes()
    with replacing(path, binary=True) as file:
        file.write(gzip.compress(content, mtime=0) if path.endswith('.gz') else content)


def write_label_png(path: str, of: Slice, labels: np.ndarray) -> None:
    """Writes labels as a PNG file with the pixels of the file of the slice.

    Its values are the labels; its palette shows them in colour.

    Args:
      path: of the file.
      of: the slice.
      labels: `[rows, columns]` uint8 in patient orientation.

    Raises OSError that names the path.
    """
    picture = Image.fromarray(np.ascontiguousarray(of.turn.undo(labels)))
    picture.putpalette(label_colours(ct.IN_MASKS).tobytes())
    with replacing(path, binary=True) as file:
        picture.save(file, 'PNG')
