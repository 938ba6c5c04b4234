import json
import shutil

import numpy as np
from helpers import events_of, read_rows
from tensorboardX.proto.event_pb2 import SessionLog

from bodycomp_jax.training import metrics_log
from bodycomp_jax.training.metrics_log import (
    MetricsLog,
    bytes_to_write,
    shows_figures,
    write_args,
    write_csv,
)


def row(epoch, loss):
    return {'epoch': epoch, 'step': 10 * epoch, 'val_loss': loss}


def test_arguments_may_be_infinite(tmp_path):
    write_args(tmp_path / 'run', {'stall_timeout': float('inf')})
    assert json.loads((tmp_path / 'run/args.json').read_text())['stall_timeout'] == float('inf')


def test_csv_and_tensorboard_hold_the_same_values(tmp_path):
    history = []
    figure = np.zeros((8, 12, 3), np.uint8)
    with MetricsLog(tmp_path, history, print) as log:
        for epoch, loss in ((1, -0.5), (2, float('nan'))):
            history.append(row(epoch, loss))
            log.write(history, [figure])
    rows = read_rows(tmp_path / 'metrics.csv')
    assert [r['epoch'] for r in rows] == ['1', '2']
    assert [r['val_loss'] for r in rows] == ['-0.5', 'nan']
    values = [(e.step, v) for e in events_of(tmp_path / 'tensorboard_log') for v in e.summary.value]
    assert [(s, v.simple_value) for s, v in values if v.tag == 'val_loss'] == [(1, -0.5)]
    assert [(s, v.image.width) for s, v in values if v.tag == 'validation_0'] == [(1, 12), (2, 12)]


def test_a_continued_run_drops_the_epochs_after_its_checkpoint(tmp_path):
    with MetricsLog(tmp_path, [], print) as log:
        log.write([row(1, -0.5)], [])
        log.write([row(1, -0.5), row(2, -0.6)], [])
    with MetricsLog(tmp_path, [row(1, -0.5)], print) as log:
        assert len(read_rows(tmp_path / 'metrics.csv')) == 1
        log.write([row(1, -0.5), row(2, -0.7)], [])
    restarts = [
        e.step
        for e in events_of(tmp_path / 'tensorboard_log')
        if e.session_log.status == SessionLog.START
    ]
    assert restarts == [1, 2]  # TensorBoard drops what earlier files say from this step on


def test_event_files_stay_in_order_when_the_clock_is_set_back(tmp_path, monkeypatch):
    for epoch, nanoseconds in ((1, 2 * 10**18), (2, 10**18)):
        monkeypatch.setattr(
            metrics_log.time, 'time_ns', lambda nanoseconds=nanoseconds: nanoseconds
        )
        with MetricsLog(tmp_path, [], print) as log:
            log.write([row(epoch, -0.5)], [])
    events = events_of(tmp_path / 'tensorboard_log')
    assert [e.step for e in events if e.session_log.status == SessionLog.START] == [1, 2]


def test_rows_of_an_older_version_may_lack_columns(tmp_path):
    path = str(tmp_path / 'metrics.csv')
    write_csv(path, [row(1, -0.5), {**row(2, -0.6), 'dice_muscle': 0.9}])
    assert [r['dice_muscle'] for r in read_rows(path)] == ['', '0.9']
    assert list(read_rows(path)[0]) == ['epoch', 'step', 'val_loss', 'dice_muscle']


def test_a_tensorboard_folder_that_was_deleted_is_made_again(tmp_path):
    history = [row(1, -0.5)]
    with MetricsLog(tmp_path, history, print) as log:
        log.write(history, [])
        shutil.rmtree(tmp_path / 'tensorboard_log')
        history.append(row(2, -0.6))
        log.write(history, [])
    steps = [e.step for e in events_of(tmp_path / 'tensorboard_log') for _ in e.summary.value]
    assert set(steps) == {2}


def test_figures_become_rare():
    shown = [epoch for epoch in range(1, 258) if shows_figures(epoch, 257)]
    assert shown == [*range(1, 11), *range(20, 101, 10), 200, 257]


def test_bytes_to_write_count_figures_and_what_is_written_already(tmp_path):
    whole = bytes_to_write(tmp_path, 30, 1_000_000)
    assert 12_000_000 < whole < 13_000_000
    (tmp_path / 'tensorboard_log').mkdir()
    (tmp_path / 'tensorboard_log' / 'events').write_bytes(bytes(1_000_000))
    assert bytes_to_write(tmp_path, 30, 1_000_000) == whole - 1_000_000
    assert bytes_to_write(tmp_path, 1, 0) == 0
