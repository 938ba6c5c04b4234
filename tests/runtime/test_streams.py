import os
import pty
import select

import pytest

from bodycomp_jax.runtime import streams
from bodycomp_jax.runtime.streams import Unfailing


def read_all(fd):
    """What can be read until nothing more comes."""
    parts = []
    while select.select([fd], [], [], 0.1)[0]:
        parts.append(os.read(fd, 1 << 16))
    return b''.join(parts)


def test_what_cannot_be_written_is_dropped():
    with open('/dev/full', 'w') as full:
        stream = Unfailing(full)
        print('a line', file=stream, flush=True)
        assert stream.write('four') == 4


def test_what_can_be_written_is(tmp_path):
    with open(tmp_path / 'log', 'w', encoding='ascii') as file:
        stream = Unfailing(file)
        print('größe' * 100, file=stream)
        assert (tmp_path / 'log').read_text() == r'gr\xf6\xdfe' * 100 + '\n'
        assert not stream.isatty()


@pytest.mark.parametrize('opened', [os.pipe, pty.openpty])
def test_what_nobody_reads_is_dropped(monkeypatch, opened):
    monkeypatch.setattr(streams, 'PATIENCE', 0.01)
    reader, writer = opened()
    with os.fdopen(writer, 'w') as file:
        stream = Unfailing(file)
        for _ in range(100):
            stream.write('x' * 4096)
        before = read_all(reader)
        stream.write('read again')
        after = read_all(reader)
    os.close(reader)
    assert 0 < len(before) < 50 * 4096
    assert after.split() == [*streams.GAP.split(), b'read', b'again']
