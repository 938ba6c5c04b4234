"""What a run writes besides checkpoints: args.json, metrics.csv and TensorBoard."""

import math
import os
import re
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

from bodycomp_jax.checkpoints.folder import METRICS
from bodycomp_jax.data.table import write_table
from bodycomp_jax.runtime.files import explained
from bodycomp_jax.runtime.job import is_main_process
from bodycomp_jax.runtime.json_files import write_json
from bodycomp_jax.runtime.processes import on_main_process
from bodycomp_jax.runtime.versions import versions

EVENTS = 'tensorboard_log'
EVENT_FILE = 'events.out.tfevents.'
ROW_BYTES = 4_000  # of an epoch, in both files

Row = dict[str, Any]


class MetricsLog:
    """metrics.csv and TensorBoard, a row and a step per epoch, written by the main process.

    A failed write does not end the training: it is reported by `warn`, and the next epoch tries
    again, metrics.csv as a whole.
    """

    def __init__(self, run_dir: str, history: list[Row], warn: Callable[[str], None]):
        """Continues after the epochs in `history`; what the files hold of later ones is dropped."""
        self._warn = warn
        self._csv_path = os.path.join(run_dir, METRICS)
        self._events_dir = os.path.join(run_dir, EVENTS)
        self._events: _EventFile | None = None
        if history:
            on_main_process(write_csv)(self._csv_path, history)

    def __enter__(self) -> 'MetricsLog':
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()

    def write(self, history: list[Row], figures: Sequence[np.ndarray]) -> None:
        """Writes the last row of `history`, and the figures of its epoch."""
        if not is_main_process():
            return
        try:
            write_csv(self._csv_path, history)
            self._write_events(history[-1], figures)
        except OSError as error:
            self._events = None  # its last record may be torn; the next epoch starts a new file
            self._warn(f'{METRICS} or TensorBoard could not be written ({explained(error)})')

    def _write_events(self, row: Row, figures: Sequence[np.ndarray]) -> None:
        scalars = [
            summary.scalar(name, value)
            for name, value in row.items()
            if name != 'epoch' and math.isfinite(value)
        ]
        images = [
            summary.image(f'validation_{i}', figure, dataformats='HWC')
            for i, figure in enumerate(figures)
        ]
        if self._events is not None and self._events.is_deleted():
            self._events.close()
            self._events = None
        if self._events is None:
            self._events = _EventFile(self._events_dir, row['epoch'])
        self._events.write(row['epoch'], [*scalars, *images])


def shows_figures(epoch: int, epochs: int) -> bool:
    """Whether TensorBoard gets figures of an epoch: of 1, 2, ..., 10, 20, ..., 100, 200, ..., n."""
    return epoch == epochs or epoch % 10 ** (len(str(epoch)) - 1) == 0


@on_main_process
def bytes_to_write(run_dir: str, epochs: int, figure_bytes: int) -> int:
    """About what a run of so many epochs still writes to TensorBoard and metrics.csv.

    Args:
      run_dir: the folder of the run, which may have begun.
      epochs: of the whole run.
      figure_bytes: size of the figures of an epoch.
    """
    shown = sum(shows_figures(epoch, epochs) for epoch in range(1, epochs + 1))
    folder = os.path.join(run_dir, EVENTS)
    files = os.scandir(folder) if os.path.isdir(folder) else ()
    written = sum(file.stat().st_size for file in files)
    return max(0, epochs * ROW_BYTES + shown * figure_bytes - written)


class _EventFile:
    """A TensorBoard event file, written in this thread so that its errors surface here.

    tensorboardX's own writer hands events to a thread that dies on a full disk, and its queue
    then blocks the training.
    """

    def __init__(self, folder: str, first_epoch: int):
        """Makes TensorBoard drop what earlier files hold of `first_epoch` and later ones."""
        os.makedirs(folder, exist_ok=True)
        name = f'{EVENT_FILE}{_next_number(folder):020d}.{socket.gethostname()}'
        self._path = os.path.join(folder, name)
        self._writer = RecordWriter(self._path)
        self._write(file_version='brain.Event:2')
        self._write(step=first_epoch, session_log=SessionLog(status=SessionLog.START))

    def write(self, epoch: int, summaries: Sequence[Any]) -> None:
        for values in summaries:
            self._write(step=epoch, summary=values)
        self._writer.flush()

    def is_deleted(self) -> bool:
        return not os.path.lexists(self._path)

    def close(self) -> None:
        self._writer.close()

    def _write(self, **fields: Any) -> None:
        self._writer.write(Event(wall_time=time.time(), **fields).SerializeToString())


def _next_number(folder: str) -> int:
    """The time in ns, or a number above those of all files if the clock was set back.

    TensorBoard reads the files in the order of their names.
    """
    numbers = [re.match(rf'{EVENT_FILE}(\d+)', name) for name in os.listdir(folder)]
    return max([time.time_ns(), *(int(number[1]) + 1 for number in numbers if number)])


def write_csv(path: str, rows: list[Row]) -> None:
    """Replaces the file by one with these rows, whole or not at all.

    Older rows may lack columns that newer ones have.
    """
    columns = list(dict.fromkeys(name for row in reversed(rows) for name in row))
    write_table(path, rows, columns)


@on_main_process
def write_args(run_dir: str, fields: dict[str, Any]) -> None:
    """Creates the run folder and args.json in it: `fields` and the versions of the packages."""
    os.makedirs(run_dir, exist_ok=True)
    args = {**fields, 'versions': versions()}
    write_json(os.path.join(run_dir, 'args.json'), args, finite=False)  # --stall_timeout=inf
