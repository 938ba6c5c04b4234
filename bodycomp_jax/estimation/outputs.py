"""The files of a series: segmentations and reports for other programs, and previews."""

import contextlib
import os
import re
from collections.abc import Iterator

from bodycomp_jax.data.scans import Series
from bodycomp_jax.data.scans.dicom_file import write_dicom
from bodycomp_jax.errors import InputError
from bodycomp_jax.estimation.dicom_seg import segmentation
from bodycomp_jax.estimation.dicom_source import NoSourceError, read_source
from bodycomp_jax.estimation.dicom_sr import structured_report
from bodycomp_jax.estimation.label_files import write_label_png, write_nifti
from bodycomp_jax.estimation.options import EstimationConfig
from bodycomp_jax.estimation.previews import draw_preview
from bodycomp_jax.estimation.result import SINGLE_SLICE, Estimate, Measured
from bodycomp_jax.estimation.rows import Row

MAX_LEVEL = 32  # characters of a level in the names of files

Place = tuple[str, int | None]  # a level and the index of its slice; None without one


def write_outputs(
    config: EstimationConfig, found: Estimate, *, model: str | None, threshold: float
) -> dict[Place, Row]:
    """Writes the files of a series into folders of the output folder.

    Args:
      config: where, and which.
      found: in the series.
      model: what identifies the networks that made the labels; None if people did.
      threshold: mm, of the network that predicts the curves.

    Returns:
      {place: its files by their columns}, relative to the output folder.

    Raises InputError if a file of the series can no longer be read; OSError that names the path.
    """

    def preview(level: str, name: str, measured: Measured | None = None) -> Row:
        file, path = _place(config, 'previews', f'{name}.jpg')
        curve = found.curve.get(level)
        draw_preview(
            path,
            found.series,
            level,
            measured=measured,
            seen=found.seen,
            curve=curve,
            threshold=threshold,
        )
        return {'preview': file}

    files: dict[Place, Row] = {}
    for each in found.measured:
        index = each.index if each.level == SINGLE_SLICE else None
        name = _name(found.series, each.level, index)
        labels = _write_labels(config, found.series, each, name, model)
        files[each.level, each.index] = labels | preview(each.level, name, each)
    for each in found.slab:
        name = _name(found.series, each.level, each.index)
        files[each.level, each.index] = _write_labels(config, found.series, each, name, model)
    for level in found.missing:
        if level in found.curve:
            files[level, None] = preview(level, _name(found.series, level, None))
    return files


def _write_labels(
    config: EstimationConfig, series: Series, measured: Measured, name: str, model: str | None
) -> Row:
    """Writes the labels of a slice; as NIfTI if its file cannot be the source of DICOM objects."""
    index, labels = measured.index, measured.labels
    try:
        row = _write_objects(config, series, measured, name, model)
    except NoSourceError as error:
        file, path = _place(config, 'segmentations', f'{name}.nii.gz')
        write_nifti(path, series, index, labels)
        row = {'segmentation': file, 'not_dicom_reason': str(error)}
    if config.nifti:
        write_nifti(_place(config, 'nifti', f'{name}.nii.gz')[1], series, index, labels)
    if config.png:
        write_label_png(_place(config, 'png', f'{name}.png')[1], series.slices[index], labels)
    return row


def _write_objects(
    config: EstimationConfig, series: Series, measured: Measured, name: str, model: str | None
) -> Row:
    """Writes the DICOM objects of a slice.

    Raises NoSourceError if its file cannot be the source of a segmentation.
    """
    level = _short(measured.level)
    file, path = _place(config, 'segmentations', f'{name}.dcm')
    with _as_no_source():
        source = read_source(series.slices[measured.index])
        made = segmentation(source, measured.labels, level=level, model=model)
        write_dicom(path, made)
    row: Row = {'segmentation': file}
    if config.sr:
        try:
            with _as_no_source():
                report = structured_report(source, made, measured.numbers, level=level, model=model)
                write_dicom(_place(config, 'sr', f'{name}.dcm')[1], report)
        except NoSourceError as error:
            row['not_dicom_reason'] = f'no structured report: {error}'
    return row


@contextlib.contextmanager
def _as_no_source() -> Iterator[None]:
    """Errors of pydicom and highdicom about elements of the source become NoSourceErrors."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise NoSourceError(str(error)) from error


def _place(config: EstimationConfig, folder: str, name: str) -> tuple[str, str]:
    """(path in the output folder, path) of a file whose folder then exists."""
    os.makedirs(os.path.join(config.output_dir, folder), exist_ok=True)
    file = os.path.join(folder, name)
    return file, os.path.join(config.output_dir, file)


def _name(series: Series, level: str, index: int | None) -> str:
    """The name of the files of a slice; that of a series has no underscore."""
    return '_'.join([series.name, _short(level), *([] if index is None else [str(index)])])


def _short(level: str) -> str:
    """A level as it may be in the name of a file."""
    return re.sub(r'[^\w.+-]', '_', level)[:MAX_LEVEL]
