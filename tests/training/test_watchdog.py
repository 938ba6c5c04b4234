import threading
import time

from bodycomp_jax.training.watchdog import Watchdog


def test_it_says_what_a_stalled_training_waits_for():
    said = threading.Event()
    messages = []

    def say(text):
        messages.append(text)
        said.set()

    with Watchdog(0.1, say) as watchdog:
        watchdog.waits_for('the training files')
        assert said.wait(30)
    assert 'no step finished for' in messages[0]
    assert 'waiting for the training files' in messages[0]


def test_it_is_silent_while_steps_go_on_and_ends_with_its_block():
    messages = []
    with Watchdog(5.0, messages.append) as watchdog:
        for _ in range(5):
            watchdog.step()
            time.sleep(0.01)
    assert messages == []
    assert 'watchdog' not in [thread.name for thread in threading.enumerate()]
