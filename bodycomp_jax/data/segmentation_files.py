"""The `.npy` files of a segmentation dataset, split by split or shared out among folds."""

import os

from bodycomp_jax import ct
from bodycomp_jax.data import plausibility
from bodycomp_jax.data.file_names import TRAINING_SPLITS, images_file, masks_file, slices_table
from bodycomp_jax.data.folds import Part, share_out
from bodycomp_jax.data.npy import NpyRows
from bodycomp_jax.data.rows import Rows, SelectedRows
from bodycomp_jax.data.slices_table import read_slices_table
from bodycomp_jax.errors import InputError


def open_files(
    data_dir: str | os.PathLike[str],
    split: str,
    *,
    apply_window: bool = True,
    masks_dir: str | os.PathLike[str] | None = None,
) -> tuple[NpyRows, NpyRows]:
    """The images and the masks of a split, `[N, H, W]` or `[N, H, W, 1]`.

    Args:
      data_dir: the folder with the files.
      split: such as 'train' or 'val'.
      apply_window: whether the images must be HU; otherwise grey values in 0..255.
      masks_dir: the folder with the masks, if it is another one.

    Reads the headers alone; raises InputError where they do not match.
    """
    images = NpyRows(images_file(data_dir, split))
    masks = NpyRows(masks_file(masks_dir or data_dir, split))
    _check_images(images, apply_window)
    _check_masks(masks, images)
    return images, masks


def open_fold(
    data_dir: str | os.PathLike[str],
    fold: int,
    folds: int,
    *,
    apply_window: bool = True,
    masks_dir: str | os.PathLike[str] | None = None,
) -> list[tuple[Rows, Rows]]:
    """The images and the masks that train, and those that validate, of both splits together.

    Args:
      data_dir: the folder with the files and `slices.csv`.
      fold, folds: see `share_out`.
      apply_window, masks_dir: see `open_files`.

    Raises InputError as `open_files`, `read_slices_table` and `share_out`.
    """

    def open_splits() -> list[tuple[NpyRows, NpyRows]]:
        return [
            open_files(data_dir, split, apply_window=apply_window, masks_dir=masks_dir)
            for split in TRAINING_SPLITS
        ]

    splits = open_splits()
    lengths = {
        split: len(images) for split, (images, _) in zip(TRAINING_SPLITS, splits, strict=True)
    }
    table = read_slices_table(slices_table(data_dir), lengths)

    def select(part: Part, splits: list[tuple[NpyRows, NpyRows]]) -> tuple[Rows, Rows]:
        images, masks = (
            SelectedRows(files, part.rows, folder=os.fspath(data_dir), selection=part.name)
            for files in zip(*splits, strict=True)
        )
        return images, masks

    training, validating = share_out([table], fold, folds)
    return [select(training, splits), select(validating, open_splits())]


def _check_images(images: Rows, apply_window: bool) -> None:
    if apply_window or images.dtype.kind not in 'u':
        plausibility.refuse_types_without_hu(images.dtype, f'{images.path}: images')
    _check_shape(images)


def _check_masks(masks: Rows, images: Rows) -> None:
    if masks.dtype.kind not in 'iu':
        raise InputError(
            f'{masks.path}: masks of type {masks.dtype.name}, expected integer labels; save them '
            'as uint8'
        )
    _check_shape(masks)
    if masks.shape[:3] != images.shape[:3]:
        raise InputError(
            f'{masks.path}: masks of shape {masks.shape} do not match {images.path} of shape '
            f'{images.shape}; save one label per pixel'
        )


def _check_shape(rows: Rows) -> None:
    shape = rows.shape
    if not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)):
        raise InputError(
            f'{rows.path}: an array of shape {shape}; expected [slices, side, side] or '
            '[slices, side, side, 1]'
        )
    if 0 in shape:
        raise InputError(f'{rows.path}: an array of shape {shape}; expected at least one slice')
    if ct.slices_last(shape):
        raise InputError(
            f'{rows.path}: an array of shape {shape}: the last axis seems to count the slices; '
            'save numpy.moveaxis(array, 2, 0)'
        )
    if shape[1] != shape[2]:
        raise InputError(
            f'{rows.path}: slices of {shape[1]} x {shape[2]} are not square; pad or crop them'
        )
