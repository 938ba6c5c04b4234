"""Standard output and error that outlive their readers."""

import contextlib
import io
import os
import sys
from typing import Any


class Unfailing:
    """A text stream whose failed writes are dropped: a closed pipe or a full disk ends no work."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes the text if that is possible; returns its length."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes the stream if that is possible."""
        with contextlib.suppress(OSError):
            self._stream.flush()


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
        stream.reconfigure(errors='backslashreplace')
        setattr(sys, name, Unfailing(stream))
