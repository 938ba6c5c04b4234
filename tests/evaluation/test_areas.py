"""Labelled areas of the slices of a scan."""

import numpy as np
import pytest

from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.areas import read_areas

HEADER = 'split,row,patient,series,z,row_spacing,column_spacing'


def write(folder, lines):
    masks = np.zeros((3, 4, 4), np.uint8)
    masks[0, 0], masks[1, :2], masks[2, 0] = 1, 3, 255
    np.save(folder / 'test_images.npy', np.zeros(masks.shape, np.int16))
    np.save(folder / 'test_masks.npy', masks)
    (folder / 'slices.csv').write_text('\n'.join(lines) + '\n')
    return str(folder)


def test_areas_at_positions(tmp_path):
    lines = [HEADER, *(f'test,{i},p,{"aab"[i]},{5 * i},5,10' for i in range(3))]
    areas = read_areas(write(tmp_path, lines))
    assert areas['a'].at(0.004).tolist() == [2, 0, 0]  # 4 pixels of 0.5 cm2
    assert areas['a'].at(5).tolist() == [0, 0, 4]
    assert np.isnan(areas['a'].at(2.5)).all()
    assert np.isnan(areas['b'].at(10)).all()  # not labelled throughout


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        ([HEADER.replace('series', 'scan'), *(f'test,{i},p,a,0,5,5' for i in range(3))], 'series'),
        ([HEADER.replace(',z', ',y'), *(f'test,{i},p,a,0,5,5' for i in range(3))], 'column z'),
        (['split,row,series,z', *(f'test,{i},a,0' for i in range(3))], 'column row_spacing'),
        ([HEADER, *(f'test,{i},p,a,high,5,5' for i in range(3))], "column z: .*'high'"),
        ([HEADER, *(f'test,{i},p,a,0,,' for i in range(3))], 'is not known'),
        ([HEADER, 'test,0,p,a,0,5,5'], 'no row for slice 1 of 3 of test'),
    ],
)
def test_other_tables_are_refused(tmp_path, lines, message):
    with pytest.raises(InputError, match=message):
        read_areas(write(tmp_path, lines))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match='no images of any split'):
        read_areas(str(tmp_path))
