"""Signals that ask a training to end: the first is remembered, the second obeyed at once."""

import signal

import numpy as np

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # Slurm sends the first or the last


class Interrupts:
    """A context in which the first signal only sets `received`, for the loop to act upon.

    A second signal ends the process as if there were no handler. Processes of one job end after
    the same step: each votes by what it received, and all go by the sum of their votes.

    Attributes:
      received: the number of the signal that this process received, or None.
      agreed: the number of the signal that the job ends by, or None.
    """

    def __init__(self, alone=True):
        """`alone`: whether this process is the whole job, which then needs no votes to agree."""
        self.received = self.agreed = None
        self._alone = alone

    def __enter__(self):
        self._previous = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def count(self, votes):
        """Takes the sum of the votes of all processes, `[3]`, an entry for each signal."""
        if self.agreed is None and votes.any():
            self.agreed = SIGNALS[int(votes.argmax())]

    def _remember(self, number, frame):
        self.received = number
        if self._alone:
            self.agreed = number
        for other in SIGNALS:
            signal.signal(other, signal.SIG_DFL)


def vote(received):
    """What a process that received this signal, or None, votes: `[3]` float32."""
    return np.array([number == received for number in SIGNALS], np.float32)
