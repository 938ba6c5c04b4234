"""The programs that prepare sets from scans, from the command line."""

import cohort
import pytest
from helpers import read_rows, run_program

from bodycomp_jax.errors import InputError
from bodycomp_jax.programs import prepare_segmentation, prepare_slice_selection


@pytest.fixture
def table(tmp_path):
    """Two patients as NIfTI files, and a third whose image cannot be read."""
    rows = []
    for seed in range(2):
        trunk = cohort.draw(seed)
        cohort.write_nifti(tmp_path / f'ct{seed}.nii', trunk.hu)
        cohort.write_nifti(tmp_path / f'mask{seed}.nii', trunk.labels)
        level = {'L3': f'{trunk.levels["L3"]:.1f}'}
        rows.append({'image': f'ct{seed}.nii', 'mask': f'mask{seed}.nii', **level})
    (tmp_path / 'broken.nii').write_bytes(b'broken')
    rows.append({'image': 'broken.nii', 'mask': 'mask0.nii', 'L3': '100'})
    return str(cohort.write_table(tmp_path / 'cases.csv', rows))


TISSUES = ('--muscle=1', '--subcutaneous_fat=2', '--visceral_fat=3')


@pytest.mark.processes
def test_exit_codes(table, tmp_path):
    arguments = [table, tmp_path / 'set', *TISSUES]
    refused = run_program(*arguments[:2], program='prepare_segmentation')
    assert refused.returncode == 2
    assert 'nothing says what the label' in refused.stderr
    assert not (tmp_path / 'set').exists()
    written = run_program(*arguments, program='prepare_segmentation')
    assert written.returncode == 1
    assert '1 of 3 cases were left out' in written.stderr
    assert 'Traceback' not in written.stdout + written.stderr
    assert (tmp_path / 'set' / 'val_masks.npy').exists()


def test_both_read_the_same_table(table, tmp_path, capsys):
    allowed = '--allow_rejected'
    prepare_segmentation.main(
        ['x', table, str(tmp_path / 'a'), *TISSUES, '--size=48', '--seed=3', allowed]
    )
    prepare_slice_selection.main(['x', table, str(tmp_path / 'b'), '--seed=3', allowed])
    series = [read_rows(tmp_path / name / 'series.csv') for name in 'ab']
    splits = [{row['series']: row['split'] for row in of_set} for of_set in series]
    assert splits[0] == splits[1]
    assert sorted(splits[0].values()) == ['train', 'val']
    assert capsys.readouterr().out.count('written: ') == 2


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--val_share=0.6', '--test_share=0.5'], 'invalid --val_share=0.6 --test_share=0.5'),
        (['--val_share=nan'], 'invalid --val_share=nan'),
        (['--val_share=-1'], 'invalid --val_share=-1'),
        (['--levels=L3,L3'], 'invalid --levels=L3,L3: name vertebrae such as L3 or T12, each once'),
        (['--size=0'], 'invalid --size=0: use a number in 1..'),
        (['--levels=L3'], '--levels has no effect without --slices=level; add that'),
        (['--hu_limits=narrow'], 'hu_limits'),
        (['--labels=unknown'], 'labels'),
        (['--slices=some'], 'slices'),
    ],
)
def test_wrong_flags(table, tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        prepare_segmentation.main(['x', table, str(tmp_path / 'set'), *flags])
    assert not (tmp_path / 'set').exists()
