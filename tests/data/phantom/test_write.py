"""The training sets of synthetic subjects, read as the trainers read them."""

import csv

import numpy as np
from PIL import Image

from bodycomp_jax import ct
from bodycomp_jax.data import phantom, segmentation, slice_selection
from bodycomp_jax.data.phantom import write

SIDE = 64


def test_a_segmentation_set_holds_one_slice_per_subject_and_no_subject_twice(tmp_path):
    phantom.write_segmentation_set(tmp_path, train=2, val=1, side=32, seed=5)
    for split, seeds in (('train', (5, 6)), ('val', (7,))):
        images, masks = (np.load(tmp_path / f'{split}_{kind}.npy') for kind in ('images', 'masks'))
        assert (images.shape, images.dtype) == ((len(seeds), 32, 32, 1), np.int16)
        assert (masks.shape, masks.dtype) == ((len(seeds), 32, 32, 1), np.uint8)
        for seed, image, mask in zip(seeds, images, masks, strict=True):
            expected_image, expected_mask = phantom.draw_slice(seed, 32)
            np.testing.assert_array_equal(image[..., 0], expected_image)
            np.testing.assert_array_equal(mask[..., 0], expected_mask)


def test_sets_are_of_the_variety_that_is_wanted(tmp_path):
    phantom.write_segmentation_set(tmp_path, train=1, val=1, side=32, seed=5, variety=phantom.WIDE)
    images = np.load(tmp_path / 'train_images.npy')
    np.testing.assert_array_equal(images[0, ..., 0], phantom.draw_slice(5, 32, phantom.WIDE)[0])
    phantom.write_slice_selection_set(
        tmp_path, train=1, val=1, side=32, spacing=100, seed=5, variety=phantom.WIDE
    )
    trunk = phantom.draw(5, 32, 100, phantom.WIDE)
    with Image.open(tmp_path / 'images/train/000001.png') as image:
        np.testing.assert_array_equal(np.asarray(image), ct.window(trunk.hu[1]).round())


def test_a_larger_segmentation_set_begins_with_the_smaller(tmp_path):
    for name, train in (('small', 2), ('large', 4)):
        (tmp_path / name).mkdir()
        phantom.write_segmentation_set(tmp_path / name, train=train, val=1, side=32)
    small, large = (np.load(tmp_path / name / 'train_images.npy') for name in ('small', 'large'))
    np.testing.assert_array_equal(small, large[:2])


def test_slices_and_trunks_are_drawn_when_they_are_written(tmp_path, monkeypatch):
    drawn = []

    def counted(draw):
        return lambda *arguments: drawn.append(arguments) or draw(*arguments)

    def write_one(data_dir, split, items, *tables):
        next(iter(items))
        assert len(drawn) == 1
        drawn.clear()

    monkeypatch.setattr(write, 'draw_slice', counted(phantom.draw_slice))
    monkeypatch.setattr(write, 'draw', counted(phantom.draw))
    for module in (segmentation, slice_selection):
        monkeypatch.setattr(module, 'write_split', write_one)
    phantom.write_segmentation_set(tmp_path, train=3, val=3, side=32)
    phantom.write_slice_selection_set(tmp_path, train=3, val=3, side=32, spacing=100)


def test_a_slice_selection_set_reads_as_it_was_drawn(tmp_path):
    phantom.write_slice_selection_set(
        tmp_path, train=2, val=1, side=SIDE, spacing=60, seed=5, levels=('L3', 'T12')
    )
    names = {}
    for split in ('train', 'val'):
        images = sorted((tmp_path / 'images' / split).iterdir())
        with open(tmp_path / 'meta' / f'{split}.csv', newline='') as file:
            rows = list(csv.DictReader(file))
        assert [path.name for path in images] == [f'{i:06d}.png' for i in range(len(rows))]
        names[split] = {row['series'] for row in rows}
        for name in names[split]:
            trunk = phantom.draw(int(name.removeprefix('subject_')), SIDE, 60)
            mine = [i for i, row in enumerate(rows) if row['series'] == name]
            for level in ('L3', 'T12'):
                offsets = np.array([float(rows[i][f'ZOffset_{level}']) for i in mine])
                np.testing.assert_allclose(offsets, trunk.z - trunk.levels[level], atol=0.051)
                assert offsets[0] < 0 < offsets[-1]
            for i, hu in zip(mine, trunk.hu, strict=True):
                with Image.open(images[i]) as image:
                    assert image.mode == 'L'
                    np.testing.assert_array_equal(np.asarray(image), ct.window(hu).round())
    assert names == {'train': {'subject_000005', 'subject_000006'}, 'val': {'subject_000007'}}
