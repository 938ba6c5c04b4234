import csv
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from bodycomp_jax import ct
from bodycomp_jax.data.phantom import trunk

SIDE = 64
SPACING = 4.0


@pytest.fixture(scope='module')
def bodies():
    return [trunk.draw(seed, SIDE, SPACING) for seed in range(3)]


def slice_at(series, z):
    return series.hu[np.abs(series.z - z).argmin()]


def bone_in_the_middle(image):
    """Pixels of bone within 7 mm of the plane of symmetry; bright blood has at most 190 HU."""
    return (image[:, SIDE // 2 - 1 : SIDE // 2 + 1] > 240).sum()


def test_a_seed_draws_one_body():
    one, same, other = (trunk.draw(seed, SIDE, 30) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.hu, same.hu)
    assert one.levels == same.levels
    assert one.levels != other.levels
    assert (one.hu[0] != other.hu[0]).any()


def test_slices_go_from_the_pelvis_to_the_lungs(bodies):
    for series in bodies:
        assert (series.hu.shape, series.hu.dtype) == ((len(series.z), SIDE, SIDE), np.int16)
        np.testing.assert_allclose(np.diff(series.z), SPACING)
        assert 130 < series.levels['L5'] - series.z[0] < 170
        assert series.levels['T9'] - SPACING <= series.z[-1]


def test_levels_follow_each_other_at_the_height_of_a_vertebra(bodies):
    for series in bodies:
        assert tuple(series.levels) == trunk.LEVELS
        heights = np.diff(list(series.levels.values()))
        assert (heights > 24).all() and (heights < 38).all()
        assert heights[:3].mean() > heights[-3:].mean()


def test_the_spacing_changes_which_slices_are_cut_and_not_the_body():
    fine, coarse = (trunk.draw(5, SIDE, spacing) for spacing in (20, 40))
    assert fine.levels == coarse.levels
    difference = np.abs(fine.hu[::2].astype(int) - coarse.hu)
    assert np.median(difference) < 40  # only the noise differs


def test_there_is_bone_at_a_level_and_none_in_the_disc_above(bodies):
    for series in bodies:
        heights = [series.levels[level] for level in trunk.LEVELS]
        for z, above in pairwise(heights):
            assert bone_in_the_middle(slice_at(series, z)) >= 2
            assert bone_in_the_middle(slice_at(series, (z + above) / 2)) == 0


def test_lungs_are_above_and_the_pelvis_below(bodies):
    for series in bodies:

        def gas(z, series=series):
            inside = slice_at(series, z)[:, 12:-12]
            return ((inside > -950) & (inside < -700)).sum()

        assert gas(series.levels['T9']) > 2 * gas(series.levels['L2'])
        lateral = np.r_[0 : SIDE // 2 - 8, SIDE // 2 + 8 : SIDE]
        pelvis, waist = (
            (slice_at(series, z)[:, lateral] > 200).sum()
            for z in (series.levels['L5'] - 60, series.levels['L3'])
        )
        assert pelvis > waist + 10


def test_psoas_grows_from_l1_to_l4(monkeypatch):
    whole = trunk.draw(1, SIDE, SPACING)
    monkeypatch.setattr(trunk, '_paint_psoas', lambda cut, body: None)
    without = trunk.draw(1, SIDE, SPACING)
    areas = (whole.hu != without.hu).sum((1, 2))
    at = [
        areas[np.abs(whole.z - whole.levels[level]).argmin()] for level in ('L1', 'L2', 'L3', 'L4')
    ]
    assert (np.diff(at) > 0).all()
    assert at[-1] > 3 * at[0]
    assert areas[-1] == 0


def test_a_dataset_reads_as_it_was_drawn(tmp_path):
    trunk.write_dataset(
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
            series = trunk.draw(int(name.removeprefix('body_')), SIDE, 60)
            mine = [i for i, row in enumerate(rows) if row['series'] == name]
            for level in ('L3', 'T12'):
                offsets = np.array([float(rows[i][f'ZOffset_{level}']) for i in mine])
                np.testing.assert_allclose(offsets, series.z - series.levels[level], atol=0.051)
                assert offsets[0] < 0 < offsets[-1]
            for i, hu in zip(mine, series.hu, strict=True):
                with Image.open(images[i]) as image:
                    assert image.mode == 'L'
                    np.testing.assert_array_equal(np.asarray(image), ct.window(hu).round())
    assert names == {'train': {'body_000005', 'body_000006'}, 'val': {'body_000007'}}
