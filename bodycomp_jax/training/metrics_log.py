"""What a run tells: the terminal, metrics.csv and TensorBoard.

Of several processes the first tells it; the others only warn.
"""

import contextlib
import csv
import importlib.metadata
import json
import math
import os
import socket
import time

import rich.box
import rich.console
import rich.markup
import rich.progress
import rich.table
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

from bodycomp_jax.runtime import processes

PACKAGES = ('bodycomp_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'pillow')
PLAIN_WIDTH = 1000  # columns of a table where the output is no terminal


class Terminal:
    """Lines, tables and a progress bar; plain lines where the output is no terminal."""

    def __init__(self):
        self._console = rich.console.Console(highlight=False, emoji=False)
        self._quiet = not processes.is_first()
        if not self._console.is_terminal:
            self._console.width = PLAIN_WIDTH

    def line(self, text):
        if not self._quiet:
            self._print(text)

    def warn(self, text):
        self._print(f'WARNING: {processes.said_by()}{text}')

    def table(self, header, rows):
        if self._quiet:
            return
        table = rich.table.Table(*header, box=rich.box.SIMPLE)
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def report(self, about, rows):
        """What was measured on what: a line for each entry of `about`, then rows with one key."""
        for name, value in about.items():
            if not isinstance(value, dict):
                self.line(f'{name.replace("_", " ")}: {_as_text(value)}')
        header = [name.replace('_', ' ') for name in rows[0]]
        self.table(header, [[_as_text(value) for value in row.values()] for row in rows])

    @contextlib.contextmanager
    def bar(self, title, steps, examples_per_step):
        """A bar that `advance(loss, skipped)` moves; it vanishes when the block ends."""
        columns = (
            rich.progress.TextColumn('{task.description}'),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn('loss {task.fields[loss]:.4f}'),
            rich.progress.TextColumn('{task.fields[rate]:.1f} images/s'),
            rich.progress.TimeRemainingColumn(),
        )
        progress = rich.progress.Progress(
            *columns,
            console=self._console,
            transient=True,
            disable=self._quiet or not self._console.is_terminal,
        )
        with progress:
            task = progress.add_task(title, total=steps, loss=math.nan, rate=0.0)

            def advance(loss, skipped):
                rate = (progress.tasks[0].speed or 0.0) * examples_per_step
                description = f'{title}, {skipped} steps skipped' if skipped else title
                progress.update(task, advance=1, loss=loss, rate=rate, description=description)

            yield advance

    def track(self, items, count, title):
        """The items, with a bar that says how many there have been; it vanishes at the end."""
        return rich.progress.track(
            items,
            rich.markup.escape(title),  # a path may have brackets
            count,
            console=self._console,
            transient=True,
            disable=self._quiet or not self._console.is_terminal,
        )

    def _print(self, text):
        self._console.print(text, markup=False, soft_wrap=True)


def _as_text(value):
    """Numbers with three digits or more, and commas between thousands; nothing for None."""
    if isinstance(value, int):
        return f'{value:,}'
    if isinstance(value, float):
        return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'
    return '' if value is None else value


class EpochLog:
    """metrics.csv and TensorBoard, a row and a step an epoch.

    What the disk does not take does not end the training: `warn` is told, and the next epoch
    tries again, metrics.csv as a whole.
    """

    def __init__(self, run_dir, history, warn):
        """Starts after the epochs in `history`; what the files say of later ones is dropped."""
        self._warn = warn
        self._csv_path = os.path.join(run_dir, 'metrics.csv')
        self._events_dir = os.path.join(run_dir, 'tensorboard_log')
        self._events = None
        self._quiet = not processes.is_first()
        if history:
            processes.first(write_csv, self._csv_path, history)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._events is not None:
            self._events.close()

    def write(self, history, pictures):
        """Writes the last row of `history`, and the pictures of its epoch."""
        if self._quiet:
            return
        try:
            write_csv(self._csv_path, history)
            self._write_events(history[-1], pictures)
        except OSError as error:
            self._events = None  # whose last record may be torn; the next epoch begins a new file
            self._warn(f'metrics.csv or TensorBoard could not be written ({error})')

    def _write_events(self, row, pictures):
        scalars = [
            summary.scalar(name, value)
            for name, value in row.items()
            if name != 'epoch' and math.isfinite(value)
        ]
        images = [
            summary.image(f'validation_{i}', picture, dataformats='HWC')
            for i, picture in enumerate(pictures)
        ]
        if self._events is None:
            self._events = _EventFile(self._events_dir, row['epoch'])
        self._events.write(row['epoch'], [*scalars, *images])


class _EventFile:
    """A TensorBoard event file, written in this thread, so that its errors are seen here.

    tensorboardX's own writer hands events to a thread that dies on a full disk, and its
    queue then blocks the training.
    """

    def __init__(self, folder, first_epoch):
        """Tells TensorBoard to drop what earlier files say of `first_epoch` and later ones."""
        os.makedirs(folder, exist_ok=True)
        name = f'events.out.tfevents.{time.time_ns():020d}.{socket.gethostname()}'
        self._writer = RecordWriter(os.path.join(folder, name))
        self._write(file_version='brain.Event:2')
        self._write(step=first_epoch, session_log=SessionLog(status=SessionLog.START))

    def write(self, epoch, summaries):
        for values in summaries:
            self._write(step=epoch, summary=values)
        self._writer.flush()

    def close(self):
        self._writer.close()

    def _write(self, **fields):
        self._writer.write(Event(wall_time=time.time(), **fields).SerializeToString())


def write_csv(path, rows):
    """Replaces the file by one with these rows, whole or not at all."""
    with replacing(path) as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_args(run_dir, fields):
    """Makes the run folder, and args.json in it: `fields` and the versions of what computes."""
    os.makedirs(run_dir, exist_ok=True)
    with replacing(os.path.join(run_dir, 'args.json')) as file:
        json.dump({**fields, 'versions': versions()}, file, indent=2)
        file.write('\n')


def versions():
    """{package: version} of what computes."""
    return {package: importlib.metadata.version(package) for package in PACKAGES}


@contextlib.contextmanager
def replacing(path):
    """A text file that takes the place of `path` when the block ends without an error."""
    temporary = f'{path}.tmp'
    try:
        with open(temporary, 'w', newline='') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise
