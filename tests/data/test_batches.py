import threading

import numpy as np
import pytest

from bodycomp_jax.data.batches import ReadAhead, evaluation_batches, training_batches


def test_an_epoch_has_each_example_at_most_once_and_no_short_batch():
    batches = training_batches(23, 5, 4, seed=1, epoch=2)
    assert batches.shape == (4, 5)
    assert len(set(batches.ravel())) == 20


def test_the_order_depends_on_seed_and_epoch_alone():
    first = training_batches(100, 10, 10, seed=1, epoch=2)
    np.testing.assert_array_equal(first, training_batches(100, 10, 10, seed=1, epoch=2))
    assert (first != training_batches(100, 10, 10, seed=1, epoch=3)).any()
    assert (first != training_batches(100, 10, 10, seed=2, epoch=2)).any()


def test_more_steps_than_the_set_has_shuffle_it_again():
    batches = training_batches(23, 5, 12, seed=1, epoch=2)
    np.testing.assert_array_equal(batches[:4], training_batches(23, 5, 4, seed=1, epoch=2))
    counts = np.bincount(batches.ravel(), minlength=23)
    assert (counts.min(), counts.max()) == (2, 3)


@pytest.mark.parametrize('n', [1, 8, 9, 15, 16])
def test_evaluation_counts_every_example_once(n):
    counts = np.zeros(n)
    for indices, weights in evaluation_batches(n, 8):
        assert indices.shape == weights.shape == (8,)
        np.add.at(counts, indices, weights)
    np.testing.assert_array_equal(counts, 1)


def test_read_ahead_keeps_the_order():
    results = list(ReadAhead(lambda a, b: a * b, [(i, 2) for i in range(50)]))
    assert results == [2 * i for i in range(50)]


def test_an_error_in_a_thread_comes_out_at_once():
    batch_two_is_asked_for = threading.Event()

    def read(i):
        if i == 1:
            assert batch_two_is_asked_for.wait(60)
        if i == 2:
            batch_two_is_asked_for.set()
            raise RuntimeError('batch 2 is gone')
        return i

    iterator = iter(ReadAhead(read, [(i,) for i in range(10)]))
    with pytest.raises(RuntimeError, match='batch 2 is gone'):
        list(iterator)


def test_no_thread_is_left_behind_when_the_consumer_stops():
    before = threading.active_count()
    iterator = iter(ReadAhead(lambda i: i, [(i,) for i in range(100)]))
    assert next(iterator) == 0
    iterator.close()
    assert threading.active_count() == before


def test_it_reads_ahead_but_not_the_whole_epoch():
    started = []
    iterator = iter(ReadAhead(lambda i: started.append(i), [(i,) for i in range(100)]))
    next(iterator)
    iterator.close()
    assert 1 < len(started) < 10
