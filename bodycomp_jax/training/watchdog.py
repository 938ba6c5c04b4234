"""A thread that says so when training stands still."""

import threading
import time


class Watchdog:
    """While entered, calls `say` each time that `timeout` seconds pass without a `step`.

    The consumer names what it is about to wait for, so that the message can tell.
    """

    def __init__(self, timeout, say):
        self._timeout, self._say = timeout, say
        self._waiting_for = 'the first step'
        self._last_step = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def waits_for(self, what):
        """Names what the training is about to wait for."""
        self._waiting_for = what

    def step(self):
        """Says that a step is finished."""
        self._last_step = time.monotonic()

    def _watch(self):
        said = 0
        while not self._ended.wait(min(1.0, self._timeout / 4)):
            stalled = time.monotonic() - self._last_step
            if stalled < self._timeout:
                said = 0
            elif stalled >= self._timeout * (said + 1):
                said += 1
                self._say(f'no step finished for {stalled:.0f} s; waiting for {self._waiting_for}')
