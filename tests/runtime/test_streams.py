import io

from bodycomp_jax.runtime.streams import Unfailing


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text):
        raise OSError(28, 'No space left on device')

    def flush(self):
        raise OSError(28, 'No space left on device')


def test_what_cannot_be_written_is_dropped():
    stream = Unfailing(Full())
    print('a line', file=stream, flush=True)
    assert stream.write('four') == 4


def test_what_can_be_written_is():
    inner = io.StringIO()
    stream = Unfailing(inner)
    print('a line', file=stream)
    assert inner.getvalue() == 'a line\n'
    assert not stream.isatty()
