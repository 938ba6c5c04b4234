"""What the files of both training sets are called."""

import os

TRAINING_SPLITS = ('train', 'val')  # those that a training needs
SPLITS = (*TRAINING_SPLITS, 'test')
OFFSET = 'ZOffset'  # begins the names of columns of offsets

Folder = str | os.PathLike[str]


def images_file(data_dir: Folder, split: str) -> str:
    """The slices of a split of the segmentation network."""
    return os.path.join(data_dir, f'{split}_images.npy')


def masks_file(data_dir: Folder, split: str) -> str:
    """The labels of these slices."""
    return os.path.join(data_dir, f'{split}_masks.npy')


def slices_table(data_dir: Folder) -> str:
    """The table that says whose slices these are, of all splits."""
    return os.path.join(data_dir, 'slices.csv')


def pictures_folder(data_dir: Folder, split: str) -> str:
    """The slices of a split of the slice-selection network."""
    return os.path.join(data_dir, 'images', split)


def offsets_table(data_dir: Folder, split: str) -> str:
    """The table of their offsets."""
    return os.path.join(data_dir, 'meta', f'{split}.csv')


def offset_column(level: str) -> str:
    """The column of this table with the mm from a level to each slice."""
    return f'{OFFSET}_{level}'
