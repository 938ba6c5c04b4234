"""Standard output and error that outlive their readers."""

import contextlib
import io
import os
import select
import sys
from typing import Any

PATIENCE = 10.0  # seconds in which a reader must take something
TERMINAL_PART = 128  # bytes that fit into a terminal that accepts any
GAP = b'\n... output that nobody read is lost ...\n'


class Unfailing:
    """A text stream that drops what cannot be written, and what nobody reads.

    Neither a closed pipe nor a full disk ends the work, nor does a pager, a terminal that Ctrl-S
    stopped or a frozen connection hold it up.
    """

    def __init__(self, stream: Any):
        """`stream`: with a file descriptor."""
        with contextlib.suppress(OSError):
            stream.flush()
        self._stream = stream
        self._part = TERMINAL_PART if stream.isatty() else select.PIPE_BUF
        self._has_reader = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes the text if that is possible; returns its length."""
        data, fd = text.encode(self._stream.encoding, 'backslashreplace'), self._stream.fileno()
        with contextlib.suppress(OSError):
            while data and self._accepts(fd):
                data = data[os.write(fd, data[: self._part]) :]
        return len(text)

    def flush(self) -> None:
        """Does nothing: everything has been written, or dropped."""

    def _accepts(self, fd: int) -> bool:
        """Whether a write would not block; waits once for a reader that is gone."""
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        had_reader = self._has_reader
        self._has_reader = bool(poll.poll(1000 * PATIENCE if had_reader else 0))
        if self._has_reader and not had_reader:
            os.write(fd, GAP)
        return self._has_reader


def make_unfailing() -> None:
    """Replaces the standard streams by ones that neither fail nor lack characters.

    Opens those that are closed, or files of the run would take their places.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is `fd`
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name) or io.TextIOWrapper(io.FileIO(os.devnull, 'w'))
        setattr(sys, name, Unfailing(stream))
