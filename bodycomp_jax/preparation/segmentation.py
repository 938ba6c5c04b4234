"""Training sets of the segmentation network from scans and masks."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.data import segmentation
from bodycomp_jax.data.file_names import images_file, masks_file, slices_table
from bodycomp_jax.data.masks.labels import UNSEEN, label_map
from bodycomp_jax.data.masks.mask import Mask, open_mask
from bodycomp_jax.data.npy import NpyRows, npy_writers
from bodycomp_jax.data.scans import Series, Slice
from bodycomp_jax.data.squares import square_image, square_mask, square_spacing
from bodycomp_jax.data.table import write_table
from bodycomp_jax.errors import InputError, listed
from bodycomp_jax.preparation.account import PartsOf
from bodycomp_jax.preparation.cases import Case, read_cases
from bodycomp_jax.preparation.levels import level_positions, refuse_missing_levels
from bodycomp_jax.preparation.options import SegmentationPreparation
from bodycomp_jax.preparation.parts import Part, Slices
from bodycomp_jax.preparation.prepare import prepare
from bodycomp_jax.preparation.previews import draw_contact_sheets
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.vertebrae import why_not_shown

ENDINGS = ('_images.npy', '_masks.npy')  # of the files of a part

LabelsOf = Callable[[int, np.ndarray], np.ndarray]


def prepare_segmentation_set(config: SegmentationPreparation) -> None:
    """Writes the set that the flags describe; see `prepare`."""
    cases = read_cases(config.cases, ('image', 'mask'))
    if config.slices == 'level':
        refuse_missing_levels(config.cases, cases.cases, config.levels)
    meaning = label_map(
        config.labels or cases.preset or None,
        muscle=config.muscle,
        subcutaneous_fat=config.subcutaneous_fat,
        visceral_fat=config.visceral_fat,
        background=config.background,
        hu_limits=config.limits,
    )

    def make_slices(case: Case, series: Series, path: str) -> Slices:
        mask = open_mask(
            case.mask, series, meaning, names=cases.names, resample=config.resample_masks
        )
        indices = _which_slices(config, case, series, mask)

        def labels(i: int, hu: np.ndarray) -> np.ndarray:
            return meaning.tissues(mask.labels(i), hu)

        return write_slices(series, indices, labels, config.size, path)

    def write_and_warn(folder: str, parts_of: PartsOf) -> None:
        write_set(folder, parts_of)
        for flag in meaning.unseen():
            Terminal().warn(f'{flag}: {UNSEEN}')

    prepare(config, cases.cases, make_slices, write_and_warn)


def write_slices(
    series: Series, indices: Sequence[int], labels_of: LabelsOf, size: int, path: str
) -> Slices:
    """Writes the part of a series: slices and their labels at the size of the set.

    Args:
      series: of the case.
      indices: of the slices.
      labels_of: (index, HU) of a slice to its labels, as in `ct.TISSUES`.
      size: rows and columns in the set.
      path: of the part.
    """
    counts = np.zeros(1 + ct.NOT_LABELLED, int)
    with npy_writers(*(path + ending for ending in ENDINGS)) as (images, masks):
        for i, hu in zip(indices, series.read(indices), strict=True):
            labels = square_mask(labels_of(i, hu), size)
            images.append(square_image(hu, size)[..., None])
            masks.append(labels[..., None])
            counts += np.bincount(labels.ravel(), minlength=len(counts))
    what = {**dict(enumerate(ct.TISSUES, 1)), ct.NOT_LABELLED: 'not labelled'}
    pixels = {_pixels(name): int(counts[i]) for i, name in what.items()}
    return Slices([_row(series.slices[i], size) for i in indices], pixels)


def _pixels(name: str) -> str:
    return f'pixels {ct.spaced(name)}'


def _which_slices(
    config: SegmentationPreparation, case: Case, series: Series, mask: Mask
) -> list[int]:
    """Indices of slices with labelled pixels. Raises InputError if there are none."""
    if config.slices == 'level':
        return _at_levels(level_positions(case, series, config), series, mask)
    chosen = [i for i in range(len(series)) if _is_chosen(mask.labels(i), config.slices)]
    if not chosen:
        what = 'a tissue' if config.slices == 'labelled' else 'anything'
        raise InputError(f'{case.mask}: no slice of {case.image} has {what} labelled')
    return chosen


def _is_chosen(labels: np.ndarray, slices: str) -> bool:
    labelled = labels != ct.NOT_LABELLED
    return bool((labelled & (labels > 0) if slices == 'labelled' else labelled).any())


def _at_levels(positions: Mapping[str, float], series: Series, mask: Mask) -> list[int]:
    """The slice nearest to each level, from the feet to the head."""
    chosen = set()
    for level, mm in positions.items():
        i = series.nearest(mm)
        why = why_not_shown(level, mm, series.z[i])
        if why is not None:
            raise InputError(f'{series.slices[i].path}: {why}; correct its position')
        if not _is_chosen(mask.labels(i), 'all'):
            raise InputError(f'{series.slices[i].path}: the slice of {level} is not labelled')
        chosen.add(i)
    return sorted(chosen)


def _row(of: Slice, size: int) -> dict[str, str]:
    """What `slices.csv` says of a slice, but for what its case and its split say."""
    spacing = square_spacing((of.grid.rows, of.grid.columns), of.grid.spacing, size)
    row_spacing, column_spacing = (f'{mm:.6g}' for mm in spacing)
    return {
        'z': f'{of.z:.3f}',
        'row_spacing': row_spacing,
        'column_spacing': column_spacing,
        'file': of.path,
    }


def write_set(folder: str, parts_of: PartsOf) -> None:
    """Writes arrays, previews and `slices.csv` of the parts of each split in a folder."""
    rows = []
    previews = os.path.join(folder, 'previews')
    os.mkdir(previews)
    for split, parts in parts_of.items():
        segmentation.write_split(folder, split, _slices(parts))
        images, masks = (NpyRows(file(folder, split)) for file in (images_file, masks_file))
        draw_contact_sheets(previews, split, images, masks)
        of_split = [row for part in parts for row in part.slices.rows]
        rows += [{'split': split, 'row': str(i), **row} for i, row in enumerate(of_split)]
    write_table(slices_table(folder), rows)
    _warn_of_missing_tissues([part for parts in parts_of.values() for part in parts])


def _warn_of_missing_tissues(parts: Sequence[Part]) -> None:
    missing = [
        ct.spaced(tissue)
        for tissue in ct.TISSUES
        if not any(part.slices.counts[_pixels(tissue)] for part in parts)
    ]
    if missing:
        Terminal().warn(
            f'no pixel of the set is {listed(missing)}; check the flags that say what the labels '
            'mean'
        )


def _slices(parts: Sequence[Part]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The slices of a split with their labels."""
    for part in parts:
        images, masks = map(part.rows, ENDINGS)
        for i in range(len(images)):
            yield images.read([i])[0, ..., 0], masks.read([i])[0, ..., 0]
