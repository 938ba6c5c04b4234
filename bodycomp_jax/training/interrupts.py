"""Signals that ask a training to end: the first is remembered, the second obeyed at once."""

import signal

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # Slurm sends the first or the last


class Interrupts:
    """A context in which the first signal only sets `received`, for the loop to act upon.

    A second signal ends the process as if there were no handler.
    """

    def __init__(self):
        self.received = None  # the signal's number

    def __enter__(self):
        self._previous = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number, frame):
        self.received = number
        for other in SIGNALS:
            signal.signal(other, signal.SIG_DFL)
