"""Pictures of sets."""

import numpy as np
from PIL import Image

from bodycomp_jax.data.npy import NpyRows, npy_writers
from bodycomp_jax.metrics.figures import COLOURS, NOT_LABELLED, TINT, TRUE
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
    for i, colour in enumerate((*COLOURS.values(), NOT_LABELLED)):
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


def test_a_series_is_as_high_as_it_is_in_mm_whatever_its_gaps(tmp_path):
    slices = np.zeros((3, 64, 64), np.uint8)
    slices[:, 20:40, 20:40] = np.array([60, 120, 240])[:, None, None] + 10
    z = np.array([-50.0, -40.0, 50.0])
    path = tmp_path / 'series.png'
    previews.draw_series(
        str(path), rows(tmp_path / 's.npy', slices), z, 2.0, {'L3': 30.0, 'L9': 1e4}
    )
    picture = read(path)
    assert picture.shape == (51, 128, 3)
    assert (picture[10] == TRUE).all()
    front, side = picture[:, 30, 0], picture[:, 64 + 30, 0]
    for view in (front, side):
        assert view[0] > view[30] > view[50] > 0
        assert view[26] == view[30]  # both nearest to the slice at -40
        assert view[20] == view[0]


def test_a_series_of_one_slice_or_of_air_and_an_endless_one_are_drawn(tmp_path):
    air = np.zeros((2, 16, 16), np.uint8)
    for i, (slices, z) in enumerate(((air[:1], [3.0]), (air, [0.0, 5.0]), (air, [0.0, 1e6]))):
        path = str(tmp_path / f'{i}.png')
        previews.draw_series(path, rows(f'{path}.npy', slices), np.array(z), 1.0, {'L3': 3.0})
        assert read(path).shape[0] <= previews.MAX_HEIGHT + 1
