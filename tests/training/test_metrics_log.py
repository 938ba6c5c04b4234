import os
import struct

import numpy as np
import pytest
from helpers import read_rows
from tensorboardX.proto.event_pb2 import Event, SessionLog

from bodycomp_jax.training import metrics_log


def events_of(folder):
    """The events in a TensorBoard folder, file by file: length, checksum, event, checksum."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack('<Q', content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def row(epoch, loss):
    return {'epoch': epoch, 'step': 10 * epoch, 'val_loss': loss}


def test_csv_and_tensorboard_say_the_same(tmp_path):
    history = []
    picture = np.zeros((8, 12, 3), np.uint8)
    with metrics_log.EpochLog(tmp_path, history, print) as log:
        for epoch, loss in ((1, -0.5), (2, float('nan'))):
            history.append(row(epoch, loss))
            log.write(history, [picture])
    rows = read_rows(tmp_path / 'metrics.csv')
    assert [r['epoch'] for r in rows] == ['1', '2']
    assert [r['val_loss'] for r in rows] == ['-0.5', 'nan']
    values = [(e.step, v) for e in events_of(tmp_path / 'tensorboard_log') for v in e.summary.value]
    assert [(s, v.simple_value) for s, v in values if v.tag == 'val_loss'] == [(1, -0.5)]
    assert [(s, v.image.width) for s, v in values if v.tag == 'validation_0'] == [(1, 12), (2, 12)]


def test_a_continued_run_forgets_the_epochs_after_its_checkpoint(tmp_path):
    with metrics_log.EpochLog(tmp_path, [], print) as log:
        log.write([row(1, -0.5)], [])
        log.write([row(1, -0.5), row(2, -0.6)], [])
    with metrics_log.EpochLog(tmp_path, [row(1, -0.5)], print) as log:
        assert len(read_rows(tmp_path / 'metrics.csv')) == 1
        log.write([row(1, -0.5), row(2, -0.7)], [])
    restarts = [
        e.step
        for e in events_of(tmp_path / 'tensorboard_log')
        if e.session_log.status == SessionLog.START
    ]
    assert restarts == [1, 2]  # TensorBoard drops what earlier files say from this step on


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'file'
    path.write_text('old')
    with pytest.raises(KeyError), metrics_log.replacing(path) as file:
        file.write('half of the n')
        raise KeyError
    assert path.read_text() == 'old'
    with metrics_log.replacing(path) as file:
        file.write('new')
    assert path.read_text() == 'new'
    assert os.listdir(tmp_path) == ['file']


def test_output_to_a_file_has_no_control_characters_and_no_broken_lines(capsys):
    terminal = metrics_log.Terminal()
    terminal.line('x' * 300)
    terminal.line("it's:100:[red]")
    with terminal.bar('epoch 1/2', 2, 8) as advance:
        advance(-0.5, 0)
    terminal.table(('', 'Dice muscle'), [('best', '0.9')])
    printed = capsys.readouterr().out
    assert 'x' * 300 in printed
    assert "it's:100:[red]" in printed
    assert 'Dice muscle' in printed
    assert all(character.isprintable() or character == '\n' for character in printed)
