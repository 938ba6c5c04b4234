"""Pictures of sets."""

import numpy as np
from PIL import Image

from bodycomp_jax import ct
from bodycomp_jax.data.npy import NpyRows, npy_writers
from bodycomp_jax.metrics.tinting import COLOURS, NOT_LABELLED, TINT
from bodycomp_jax.preparation import previews


def rows(path, slices):
    with npy_writers(str(path)) as (writer,):
        for each in slices:
            writer.append(each)
    return NpyRows(str(path))


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def test_tiles_show_slices_with_their_labels(tmp_path):
    labels = np.zeros((30, 32, 32, 1), np.uint8)
    for i, label in enumerate((1, 2, 3, 255)):
        labels[i, 8:24, 8:24] = label
    images = rows(tmp_path / 'images.npy', np.full(labels.shape, -160, np.int16))
    previews.draw_contact_sheets(str(tmp_path), 'val', images, rows(tmp_path / 'm.npy', labels))
    first, second = (read(tmp_path / f'val_{i:03d}.png') for i in range(2))
    assert not (tmp_path / 'val_002.png').exists()
    middle = previews.TILE // 2
    for i, colour in enumerate((*(COLOURS[tissue] for tissue in ct.TISSUES), NOT_LABELLED)):
        tinted = first[middle, i * previews.TILE + middle]
        assert np.abs(tinted - TINT * np.array(colour)).max() <= 1
    assert not second[middle, middle].any()


def test_many_slices_are_sampled_over_the_split(tmp_path, monkeypatch):
    monkeypatch.setattr(previews, 'MAX_SHEETS', 1)
    slices = np.full((100, 8, 8, 1), -1000, np.int16)
    slices[-1] = 240
    images = rows(tmp_path / 'images.npy', slices)
    masks = rows(tmp_path / 'masks.npy', np.zeros(slices.shape, np.uint8))
    previews.draw_contact_sheets(str(tmp_path), 'train', images, masks)
    sheet = read(tmp_path / 'train_000.png')
    assert not (tmp_path / 'train_001.png').exists()
    last = sheet[(previews.ROWS - 1) * previews.TILE :, -previews.TILE :]
    assert (last[: previews.TILE] > 250).mean() > 0.9
