import threading

import numpy as np
import pytest

from bodycomp_jax.data.batches import READ_THREADS, ReadAhead, evaluation_batches, training_batches


def test_an_epoch_has_each_example_at_most_once_and_no_short_batch():
    batches = training_batches(23, 5, 4, seed=1, epoch=2)
    assert batches.shape == (4, 5)
    assert len(set(batches.ravel())) == 20


def test_the_order_depends_on_seed_and_epoch_alone():
    first = training_batches(100, 10, 10, seed=1, epoch=2)
    np.testing.assert_array_equal(first, training_batches(100, 10, 10, seed=1, epoch=2))
    assert (first != training_batches(100, 10, 10, seed=1, epoch=3)).any()
    assert (first != training_batches(100, 10, 10, seed=2, epoch=2)).any()


def test_more_steps_than_batches_shuffle_the_set_again():
    batches = training_batches(23, 5, 12, seed=1, epoch=2)
    np.testing.assert_array_equal(batches[:4], training_batches(23, 5, 4, seed=1, epoch=2))
    counts = np.bincount(batches.ravel(), minlength=23)
    assert (counts.min(), counts.max()) == (2, 3)


def test_rows_that_are_drawn_are_spread_over_the_batch_and_never_come_twice():
    epochs = [training_batches(23, 8, 3, seed=1, epoch=e, synthetic=3) for e in (1, 2)]
    drawn = np.concatenate(epochs) >= 23
    np.testing.assert_array_equal(np.flatnonzero(drawn[0]), [2, 5, 7])
    assert (drawn == drawn[0]).all()
    assert sorted(np.concatenate(epochs)[drawn]) == list(range(23, 23 + 2 * 3 * 3))
    stored = training_batches(23, 5, 3, seed=1, epoch=2)
    np.testing.assert_array_equal(epochs[1][:, ~drawn[0]], stored)
    alone = training_batches(0, 4, 2, seed=1, epoch=3, synthetic=4)
    np.testing.assert_array_equal(alone, np.arange(16, 24).reshape(2, 4))


@pytest.mark.parametrize('n', [1, 8, 9, 15, 16])
def test_evaluation_batches_have_every_example_in_order_then_padding(n):
    batches = evaluation_batches(n, 8)
    assert [batch.shape for batch in batches] == [(8,)] * -(-n // 8)
    rows = np.concatenate(batches)
    np.testing.assert_array_equal(rows[:n], np.arange(n))
    assert not rows[n:].any()


def test_read_ahead_keeps_the_order():
    assert list(ReadAhead(lambda i: 2 * i, range(50))) == [2 * i for i in range(50)]


def test_an_error_in_a_thread_is_raised_at_once():
    batch_two_requested = threading.Event()

    def read(i):
        if i == 1:
            assert batch_two_requested.wait(60)
        if i == 2:
            batch_two_requested.set()
            raise RuntimeError('batch 2 failed')
        return i

    iterator = iter(ReadAhead(read, range(10)))
    with pytest.raises(RuntimeError, match='batch 2 failed'):
        list(iterator)


def test_no_thread_remains_after_the_consumer_stops():
    before = threading.active_count()
    iterator = iter(ReadAhead(lambda i: i, range(100)))
    assert next(iterator) == 0
    iterator.close()
    assert threading.active_count() == before


@pytest.mark.parametrize('times', [1, 3])
def test_read_ahead_is_limited(times):
    all_at_once = threading.Barrier(READ_THREADS * times)
    started = []

    def read(i):
        started.append(i)
        if i < READ_THREADS * times:
            all_at_once.wait(60)

    iterator = iter(ReadAhead(read, range(100), times=times))
    next(iterator)
    iterator.close()
    assert 1 < len(started) < 10 * times
