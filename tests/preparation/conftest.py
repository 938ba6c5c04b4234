"""Three synthetic patients as files, and the sets that are prepared from them."""

import types

import cohort
import pytest

from bodycomp_jax.preparation.synthetic.dicom import write_labels

SEEDS = (0, 1, 2)


@pytest.fixture(scope='session')
def patients(tmp_path_factory):
    """A DICOM series with a SEG, one with a NIfTI mask, and NIfTI files; vertebrae as NIfTI.

    The first slice of each is not labelled.
    """
    folder = tmp_path_factory.mktemp('patients')
    trunks = [cohort.draw(seed) for seed in SEEDS]
    for trunk in trunks:
        trunk.labels[0] = 0
    headers = cohort.write_dicom(folder / 'ct0', trunks[0], 'Miller')
    write_labels(str(folder / 'mask0.dcm'), headers, trunks[0].labels)
    cohort.write_dicom(folder / 'ct1', trunks[1], 'Smith')
    cohort.write_nifti(folder / 'mask1.nii.gz', trunks[1].labels)
    cohort.write_nifti(folder / 'ct2.nii.gz', trunks[2].hu)
    cohort.write_nifti(folder / 'mask2.nii.gz', trunks[2].labels)
    for i, trunk in enumerate(trunks):
        cohort.write_nifti(folder / f'vertebrae{i}.nii.gz', cohort.vertebra_labels(trunk))
    rows = [
        {
            'image': f'ct{i}.nii.gz' if i == 2 else f'ct{i}',
            'mask': 'mask0.dcm' if i == 0 else f'mask{i}.nii.gz',
            'vertebrae': f'vertebrae{i}.nii.gz',
            'patient': 'Jones' if i == 2 else '',
            'split': 'val' if i == 1 else 'train',
        }
        for i in SEEDS
    ]
    table = str(cohort.write_table(folder / 'cases.csv', rows))
    return types.SimpleNamespace(folder=folder, rows=rows, table=table, trunks=trunks)


@pytest.fixture
def changed(patients):
    """Writes the table with changes, {row: {column: value}}; returns its path."""
    written = []

    def write(changes=None, rows=None):
        rows = [row | (changes or {}).get(i, {}) for i, row in enumerate(rows or patients.rows)]
        written.append(patients.folder / f'changed{len(written)}.csv')
        columns = {name: '' for row in rows for name in row}
        return str(cohort.write_table(written[-1], [columns | row for row in rows]))

    yield write
    for path in written:
        path.unlink()
