"""The program that measures scans, from the command line."""

import numpy as np
import pytest
from helpers import SHARED_DATA, needs_shared_data, read_rows

from bodycomp_jax.errors import InputError
from bodycomp_jax.programs import estimate

S, L = '--segmentation=a', '--slice_selection=b'


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'give --segmentation, or --masks'),
        ([S], 'nothing says which slices are measured; give --slice_selection'),
        ([S, L, '--masks=m'], 'give --segmentation, or --masks'),
        ([S, L, '--single_slices'], '--single_slices measures all slices'),
        ([S, L, '--size=0'], 'invalid --size=0: use a number in 1..'),
        ([S, L, '--levels=L3,L3'], 'invalid --levels=L3,L3: name each level once'),
        ([S, L, '--shard=0/4'], 'invalid --shard=0/4: use I/N'),
        ([S, L, '--shard=5/4'], 'invalid --shard=5/4'),
        ([S, L, '--shard=1'], 'invalid --shard=1'),
        ([S, L, '--shard=1/4', '--overwrite'], '--overwrite would remove what other parts'),
        ([S, L, '--muscle=1'], '--muscle has no effect without --masks'),
        ([S, L, '--labels=saros'], '--labels has no effect without --masks'),
        (['--masks=m', '--size=64'], '--size has no effect without --segmentation'),
        ([S, '--single_slices', '--levels=L3'], '--levels has no effect without --slice_selection'),
        ([S, '--single_slices', '--slab_mm=9'], '--slab_mm has no effect without'),
        ([S, L, '--slab_mm=-1'], 'invalid --slab_mm=-1: use mm in 0..500'),
        ([S, L, '--slab_mm=nan'], 'invalid --slab_mm=nan'),
        ([S, '--single_slices', '--all_series'], '--all_series has no effect without'),
        ([S, L, '--hu_limits=narrow'], 'hu_limits'),
        ([S, L], 'a: there is no such file or folder; give the folder of a run'),
    ],
)
def test_wrong_flags(tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        estimate.main(['x', str(tmp_path / 'scans'), str(tmp_path / 'out'), *flags])
    assert not (tmp_path / 'out').exists()


@needs_shared_data
def test_masks_of_another_program_give_its_areas(tmp_path):
    folder = SHARED_DATA / 'l3_other_patient'
    tissues = ('--muscle=1', '--subcutaneous_fat=2', '--visceral_fat=3', '--intermuscular_fat=4')
    masks = f'--masks={folder / "labels.npy"}'
    first, again = tmp_path / 'first', tmp_path / 'again'
    scan = str(folder / 'slice.dcm')
    estimate.main(['x', scan, str(first), masks, *tissues, '--sr', '--nifti', '--png'])
    (row,) = read_rows(first / 'results.csv')
    names = 'muscle', 'subcutaneous_fat', 'visceral_fat', 'intermuscular_fat'
    areas = [float(row[f'slice_{name}_area_cm2']) for name in names]
    np.testing.assert_allclose(areas, [170.3, 117.5, 277.7, 10.2], atol=0.05)
    folders = {path.parent.name for path in first.glob(f'*/{row["series"]}_slice_0.*')}
    assert folders == {'segmentations', 'previews', 'sr', 'nifti', 'png'}
    assert row['series'] in (first / 'report.html').read_text()
    estimate.main(['x', scan, str(again), f'--masks={first / "segmentations"}'])
    (row,) = read_rows(again / 'results.csv')
    assert [float(row[f'slice_{name}_area_cm2']) for name in names[:3]] == areas[:3]
