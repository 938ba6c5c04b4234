import threading

import pytest

from bodycomp_jax.training import watchdog as module
from bodycomp_jax.training.watchdog import Watchdog


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test sets them."""
    now = [0.0]
    monkeypatch.setattr(module.time, 'monotonic', lambda: now[0])
    return now


def test_a_stall_is_reported_once_per_timeout_with_what_is_awaited(clock):
    messages = []
    watchdog = Watchdog(10.0, messages.append)
    watchdog.waits_for('the training files')
    for now, count in ((9.9, 0), (10.0, 1), (19.9, 1), (20.0, 2)):
        watchdog._check(now)
        assert len(messages) == count
    assert messages[0] == 'no step finished for 10 s; waiting for the training files'
    clock[0] = 25.0
    watchdog.step_finished()
    for now, count in ((34.9, 2), (35.0, 3)):
        watchdog._check(now)
        assert len(messages) == count


def test_the_clock_starts_with_the_block_and_the_thread_ends_with_it(clock):
    warned = threading.Event()
    watchdog = Watchdog(0.04, lambda message: warned.set())
    clock[0] = 3600.0  # of compilation
    with watchdog:
        watchdog._check(3600.03)
        assert not warned.is_set()
        clock[0] = 3601.0
        assert warned.wait(30)
    assert 'watchdog' not in [thread.name for thread in threading.enumerate()]
