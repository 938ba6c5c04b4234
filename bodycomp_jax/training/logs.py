"""What a run tells: the terminal, metrics.csv and TensorBoard."""

import contextlib
import csv
import importlib.metadata
import json
import math
import os

import rich.box
import rich.console
import rich.progress
import rich.table
import tensorboardX

PACKAGES = ('bodycomp_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')
PLAIN_WIDTH = 1000  # columns of an output that is no terminal: never break a line


class Terminal:
    """Lines, tables and a progress bar; plain lines where the output is no terminal."""

    def __init__(self):
        self._console = rich.console.Console(highlight=False)
        if not self._console.is_terminal:
            self._console.width = PLAIN_WIDTH

    def line(self, text):
        self._console.print(text, markup=False)

    def table(self, header, rows):
        table = rich.table.Table(*header, box=rich.box.SIMPLE)
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    @contextlib.contextmanager
    def bar(self, title, steps, examples_per_step):
        """A bar that `advance(loss)` moves; it vanishes when the block ends."""
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
            disable=not self._console.is_terminal,
        )
        with progress:
            task = progress.add_task(title, total=steps, loss=math.nan, rate=0.0)

            def advance(loss):
                rate = (progress.tasks[0].speed or 0.0) * examples_per_step
                progress.update(task, advance=1, loss=loss, rate=rate)

            yield advance


class EpochLog:
    """metrics.csv and TensorBoard, a row and a step an epoch."""

    def __init__(self, run_dir, history):
        """Starts after the epochs in `history`; what the files say of later ones is dropped."""
        self._csv_path = os.path.join(run_dir, 'metrics.csv')
        if history:
            write_csv(self._csv_path, history)
        self._tensorboard = tensorboardX.SummaryWriter(
            os.path.join(run_dir, 'tensorboard_log'),
            purge_step=len(history) + 1,
            filename_suffix=f'.after_epoch_{len(history)}',
        )

    def write(self, history, pictures):
        """Writes the last row of `history`, and the pictures of its epoch."""
        write_csv(self._csv_path, history)
        row = history[-1]
        for name, value in row.items():
            if name != 'epoch' and math.isfinite(value):
                self._tensorboard.add_scalar(name, value, row['epoch'])
        for i, picture in enumerate(pictures):
            self._tensorboard.add_image(f'validation_{i}', picture, row['epoch'], dataformats='HWC')
        self._tensorboard.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._tensorboard.close()


def write_csv(path, rows):
    """Replaces the file by one with these rows, whole or not at all."""
    with replacing(path) as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_args(run_dir, fields):
    """Makes the run folder, and args.json in it: `fields` and the versions of what computes."""
    os.makedirs(run_dir, exist_ok=True)
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    with replacing(os.path.join(run_dir, 'args.json')) as file:
        json.dump({**fields, 'versions': versions}, file, indent=2)
        file.write('\n')


@contextlib.contextmanager
def replacing(path):
    """A text file that takes the place of `path` when the block ends without an error."""
    temporary = f'{path}.tmp'
    with open(temporary, 'w', newline='') as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
