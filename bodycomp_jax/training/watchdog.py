"""A thread that warns when training stalls."""

import threading
import time
from collections.abc import Callable


class Watchdog:
    """While entered, warns each time that `timeout` seconds pass without a finished step.

    The training names what it is about to wait for, which the warning repeats.
    """

    def __init__(self, timeout: float, warn: Callable[[str], None]):
        self._timeout, self._warn = timeout, warn
        self._waiting_for = 'the first step'
        self._last_step, self._warnings = time.monotonic(), 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)

    def __enter__(self) -> 'Watchdog':
        self.step_finished()  # restarts the clock: compilation is not a stall
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def waits_for(self, what: str) -> None:
        """Names what the training is about to wait for."""
        self._waiting_for = what

    def step_finished(self) -> None:
        """Restarts the clock."""
        self._last_step = time.monotonic()

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._timeout / 4)):
            self._check(time.monotonic())

    def _check(self, now: float) -> None:
        stalled = now - self._last_step
        if stalled < self._timeout:
            self._warnings = 0
        elif stalled >= self._timeout * (self._warnings + 1):
            self._warnings += 1
            self._warn(f'no step finished for {stalled:.0f} s; waiting for {self._waiting_for}')
