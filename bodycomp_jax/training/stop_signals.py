"""Signals that stop a training: the first is remembered, the second ends the process at once."""

import signal
import time

import numpy as np

# Slurm sends SIGTERM or SIGUSR1, a terminal that closes SIGHUP.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
SETTLING_TIME = 1.0  # seconds in which what follows a signal is the same one, sent again


class StopSignals:
    """A context in which the first signal is only recorded, for the training to act upon.

    A second signal acts as if there were no handler, unless it follows at once: a terminal sends
    Ctrl-C to the whole group of processes, and launchers such as srun and uv pass it on once more.
    SIGHUP, which a terminal may send late, is ignored from then on, and always under nohup. The
    processes of a job stop after the same step: each contributes its `stop_flags`, and all act on
    their sum.

    Attributes:
      received: number of the signal that this process received, or None.
      stop_signal: number of the signal that stops the job, or None.
    """

    def __init__(self, alone: bool = True):
        """`alone`: whether this process is the whole job, which then stops without flags."""
        self.received: int | None = None
        self.stop_signal: int | None = None
        self._alone = alone

    def __enter__(self) -> 'StopSignals':
        handled = set(SIGNALS)
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            handled.remove(signal.SIGHUP)
        self._previous = {number: signal.signal(number, self._record) for number in handled}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def count(self, flags: np.ndarray) -> None:
        """Takes the sum of the stop flags of all processes, `[4]`, an entry per signal."""
        if self.stop_signal is None and flags.any():
            self.stop_signal = SIGNALS[int(flags.argmax())]

    def _record(self, number: int, frame: object) -> None:
        if self.received is not None:
            return
        self.received = number
        if self._alone:
            self.stop_signal = number
        time.sleep(SETTLING_TIME)
        for other in SIGNALS:
            ignored = other == signal.SIGHUP
            signal.signal(other, signal.SIG_IGN if ignored else signal.SIG_DFL)


def stop_flags(received: int | None) -> np.ndarray:
    """The flags of a process that received this signal, or none: `[4]` float32."""
    return np.array([number == received for number in SIGNALS], np.float32)
