"""One pass over the slices: batches, candidates and devices."""

import jax
import numpy as np
import pytest
from fake_candidates import answer_with, configuration, labelled_images, segmenter

from bodycomp_jax.errors import RunError
from bodycomp_jax.evaluation.candidates import open_networks
from bodycomp_jax.evaluation.measure import measure
from bodycomp_jax.evaluation.tissues import TissueStudy
from bodycomp_jax.metrics.slices import NUMBERS
from bodycomp_jax.runtime.terminal import Terminal


@pytest.fixture
def study(monkeypatch, tmp_path):
    """(study, candidates, output folder) of 19 slices and three networks."""
    images, masks = labelled_images(19)
    np.save(tmp_path / 'val_images.npy', images)
    np.save(tmp_path / 'val_masks.npy', masks)
    answer_with(monkeypatch, {name: segmenter(shift) for shift, name in enumerate('abc')})
    config = configuration(tmp_path, tmp_path / 'out', models=tuple('abc'))
    networks = open_networks(config)
    study = TissueStudy(config, networks.config)
    study.parts[0].dataset.validate()
    (tmp_path / 'out').mkdir()
    return study, networks.candidates, tmp_path / 'out'


def measured(study, devices, **options):
    of, candidates, output_dir = study
    return measure(
        of,
        candidates,
        jax.local_devices()[:devices],
        output_dir=str(output_dir),
        options=options,
        terminal=Terminal(),
    )


def test_the_numbers_of_each_slice_and_candidate(study):
    found = measured(study, 2).reshape(19, 3, 3, len(NUMBERS))
    dice = found[..., NUMBERS.index('dice')]
    np.testing.assert_array_equal(dice[:, 0], 1)
    assert (dice[:, 1] < 1).all()
    assert (dice[:, 2] < dice[:, 1]).all()
    predicted, labelled = (found[..., NUMBERS.index(name)] for name in ('predicted', 'labelled'))
    np.testing.assert_array_equal(predicted, labelled)  # they are shifted
    np.testing.assert_array_equal(found[..., NUMBERS.index('labelled_mean')][:, 0, 2], 300)


def test_devices_do_not_change_the_numbers(study):
    *of, output_dir = study
    one = measured(study, 1)
    (output_dir / 'three').mkdir()
    np.testing.assert_array_equal(measured((*of, output_dir / 'three'), 3), one)


def test_data_that_change_meanwhile_are_refused(study, tmp_path):
    images = np.load(tmp_path / 'val_images.npy')
    np.save(tmp_path / 'val_images.npy', images + 1)
    with pytest.raises(RunError, match='other content than at the start'):
        measured(study, 1)
