"""Which subjects are drawn, and which of their slices are labelled."""

import numpy as np
import pytest

from bodycomp_jax.data import phantom
from bodycomp_jax.data.npy import NpyRows
from bodycomp_jax.preparation.synthetic import subject
from bodycomp_jax.preparation.synthetic.options import SyntheticConfig


def made(folder, number=0, **changes):
    """(the trunk that was drawn, what is known of its subject)."""
    options = {'subjects': 2, 'size': 32, 'slice_spacing': 10.0, 'slices': 3} | changes
    config, drawn = SyntheticConfig(output_dir=str(folder), **options), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom, 'draw', lambda *of: drawn.append(draw(*of)) or drawn[-1])
        for name in ('segmentation', 'slice_selection'):
            (folder / name).mkdir(exist_ok=True)
        subject.make(config, str(folder), str(folder), number)
    return drawn[0], subject.read_made(str(folder), number)


draw = phantom.draw


def test_labelled_slices_are_lumbar_and_those_of_the_trunk(tmp_path):
    trunk, known = made(tmp_path)
    z = [float(row['z']) for row in known.slices['segmentation'].rows]
    assert z == sorted({*z}) and len(z) == 3
    assert trunk.levels['L5'] - 5 <= z[0] and z[-1] <= trunk.levels['L1'] + 5
    rows = [list(trunk.z).index(mm) for mm in z]
    for ending, drawn in (('images', trunk.hu.clip(-1024)), ('masks', trunk.labels)):
        written = NpyRows(tmp_path / f'segmentation/000000_{ending}.npy').read(range(3))
        np.testing.assert_array_equal(written[..., 0], drawn[rows])


def test_other_subjects_have_other_slices_labelled(tmp_path):
    shares = []
    for number in range(4):
        trunk, known = made(tmp_path, number)
        l5, l1 = trunk.levels['L5'], trunk.levels['L1']
        rows = known.slices['segmentation'].rows
        shares.append([round((float(row['z']) - l5) / (l1 - l5), 2) for row in rows])
    assert len({*map(tuple, shares)}) == 4


def test_at_most_all_lumbar_slices_are_labelled(tmp_path):
    trunk, known = made(tmp_path, slices=1000)
    l5, l1 = trunk.levels['L5'], trunk.levels['L1']
    assert len(known.slices['segmentation'].rows) == pytest.approx((l1 - l5) / 10 + 1, abs=1)
    assert len(known.slices['slice_selection'].rows) == len(trunk.z)


def test_a_subject_that_is_not_made_is_not_known(tmp_path):
    assert subject.read_made(str(tmp_path), 3) is None
