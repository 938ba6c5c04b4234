"""Which series of a study."""

import fake_scans
import pytest

from bodycomp_jax.estimation.choose import chosen


def studies(*series):
    """What is chosen of (study, slices, thickness, kernel)."""
    found = [fake_scans.series(range(n), name=f'S{i}') for i, (_, n, _, _) in enumerate(series)]
    metadata = [
        {'study_instance_uid': s, 'slice_thickness_mm': t, 'reconstruction_kernel': k}
        for s, _, t, k in series
    ]
    return list(chosen(found, metadata).values())


def test_each_study_has_one():
    series = ('a', 9, '5', 'B30f'), ('b', 9, '1', 'B30f'), ('a', 9, '1', 'B30f')
    assert studies(*series) == [0, 1, 0]


def test_series_without_a_study_are_all_measured():
    assert studies(('', 9, '5', ''), ('', 9, '5', '')) == [0, 1]


@pytest.mark.parametrize(
    ('worse', 'better'),
    [
        (('a', 90, '1', 'B30f'), ('a', 20, '5', 'B30f')),
        (('a', 90, '', 'B30f'), ('a', 20, '1', 'B30f')),
        (('a', 20, '5', 'B30f'), ('a', 30, '5', 'B60f')),
        (('a', 4, '5', 'B30f'), ('a', 90, '1', 'B30f')),
        *(
            (('a', 20, '5', sharp), ('a', 20, '5', soft))
            for sharp, soft in (
                ('B70f', 'B30f'), ('Br64d\\3', 'Br40d\\3'), ('BONEPLUS', 'STANDARD'),
                ('LUNG', 'SOFT'), ('YC', 'B'), ('FC52', 'FC12'), ('Bl57', 'I30f'),
                ('I70f\\3', 'I30f\\3'),
            )
        ),
    ],
)  # fmt: skip
def test_thickness_goes_before_slices_and_these_before_the_kernel(worse, better):
    assert studies(worse, better) == [1, 1]
    assert studies(better, worse) == [0, 0]
