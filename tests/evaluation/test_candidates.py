"""Who is compared, and what each network may have seen."""

import pytest
from fake_candidates import answer_with, configuration, keras, segmenter, selector

from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.candidates import (
    alike_but_for_the_seed,
    open_networks,
    open_readers,
)


def opened(monkeypatch, networks, **options):
    answer_with(monkeypatch, networks)
    return open_networks(configuration('data', 'out', models=tuple(networks), **options))


def test_networks_and_readers_have_names_that_differ(monkeypatch):
    networks = {'x/first': segmenter(0)}
    answer_with(monkeypatch, networks)
    config = configuration('d', 'o', models=('x/first',), masks=('r/zero', 'r/first'))
    names = [each.name for each in (*open_networks(config).candidates, *open_readers(config))]
    assert names == ['x/first', 'r/first']


def test_provenance_tells_networks_apart(monkeypatch):
    networks = {'a': segmenter(0), 'b': segmenter(1, seed=4), 'c': keras(segmenter(0))}
    a, b, c = (each.provenance[0] for each in opened(monkeypatch, networks).candidates)
    assert a['sha256 of the weights'] == c['sha256 of the weights'] != b['sha256 of the weights']
    assert b['seed'] == 4
    assert 'seed' not in c


def test_alike_but_for_the_seed(monkeypatch):
    networks = {
        'a': segmenter(0),
        'b': segmenter(1, seed=1),
        'c': segmenter(2, seed=2, epochs=3),
        'd': segmenter(3),
        'e': keras(segmenter(0)),
        'f': keras(segmenter(1)),
    }
    candidates = opened(monkeypatch, networks).candidates
    assert alike_but_for_the_seed(candidates) == {(0, 1), (1, 3)}


@pytest.mark.parametrize(
    ('network', 'options', 'warning'),
    [
        (segmenter(0), {}, None),
        (keras(segmenter(0)), {'split': 'train'}, None),
        (segmenter(0), {'split': 'train'}, 'may have been trained on these patients'),
        (segmenter(0, folds=5, fold=2), {}, 'it has seen patients of the split val'),
        (segmenter(0, folds=5, fold=2), {'split': 'test'}, None),
        (segmenter(0), {'folds': 5, 'fold': 2}, 'trained without --folds'),
        (segmenter(0, folds=5, fold=2), {'folds': 5, 'fold': 2}, None),
    ],
)
def test_what_a_network_may_have_seen(monkeypatch, network, options, warning):
    warnings = opened(monkeypatch, {'run': network}, **options).warnings
    assert len(warnings) == (warning is not None)
    assert all(warning in each for each in warnings)


@pytest.mark.parametrize('trained', [{'folds': 5, 'fold': 1}, {'folds': 4, 'fold': 2}])
def test_a_network_that_saw_the_fold_is_refused(monkeypatch, trained):
    with pytest.raises(InputError, match=r'patients of fold 2 of 5; give the network of this fold'):
        opened(monkeypatch, {'run': segmenter(0, **trained)}, folds=5, fold=2)


@pytest.mark.parametrize(
    ('first', 'second', 'message'),
    [
        (segmenter(0), selector(0), 'b: a slice_selection network, but a is a segmentation'),
        (segmenter(0), segmenter(0, thoracic_model=True), 'with --thoracic_model, but a has --no'),
        (segmenter(0), segmenter(0, apply_window_function=False), 'b: a network with --noapply'),
        (selector(0), selector(0, levels=('L1',)), 'b: a network with --levels=L1, but a has'),
        (selector(0), selector(0, reference='inferior'), 'b: a network with --reference=inferior'),
    ],
)
def test_networks_that_answer_other_questions(monkeypatch, first, second, message):
    with pytest.raises(InputError, match=message):
        opened(monkeypatch, {'a': first, 'b': second})
