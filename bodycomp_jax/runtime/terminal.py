"""Lines, tables and progress bars; plain lines where the output is not a terminal."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import rich.box
import rich.console
import rich.markup
import rich.progress
import rich.table

from bodycomp_jax.runtime import job

PLAIN_WIDTH = 1000  # columns of a table in a file or a pipe
MIN_WIDTH = 40  # columns of a terminal

Item = TypeVar('Item')


class Terminal:
    """Output of the main process; the other processes print warnings only."""

    def __init__(self) -> None:
        self._console = rich.console.Console(highlight=False, emoji=False)
        self._quiet = not job.is_main_process()
        if not self._console.is_terminal:
            self._console.width = PLAIN_WIDTH
        elif self._console.width < MIN_WIDTH:  # COLUMNS=0: no letter would fit
            self._console.width = MIN_WIDTH

    def line(self, text: str) -> None:
        """Prints a line."""
        if not self._quiet:
            self._print(text)

    def warn(self, text: str) -> None:
        """Prints a warning, with the number of the process if there are several."""
        self._print(f'WARNING: {job.message_prefix()}{text}')

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Prints a table."""
        if self._quiet:
            return
        table = rich.table.Table(*map(rich.markup.escape, header), box=rich.box.SIMPLE)
        for row in rows:
            table.add_row(*map(rich.markup.escape, row))
        self._console.print(table)

    def report(self, about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
        """Prints a line for each entry of `about` and a table of `rows`, which share their keys."""
        for name, value in about.items():
            if not isinstance(value, dict):
                self.line(f'{name.replace("_", " ")}: {_as_text(value)}')
        header = [name.replace('_', ' ') for name in rows[0]]
        self.table(header, [[_as_text(value) for value in row.values()] for row in rows])

    @contextlib.contextmanager
    def bar(
        self, title: str, steps: int, examples_per_step: int
    ) -> Iterator[Callable[[float, int], None]]:
        """A progress bar, removed at the end of the block; yields `advance(loss, skipped)`."""
        columns = (
            rich.progress.TextColumn('{task.description}'),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn('loss {task.fields[loss]:.4f}'),
            rich.progress.TextColumn('{task.fields[rate]:.1f} images/s'),
            rich.progress.TimeRemainingColumn(),
        )
        with self._progress(columns) as progress:
            task = progress.add_task(title, total=steps, loss=float('nan'), rate=0.0)

            def advance(loss: float, skipped: int) -> None:
                rate = (progress.tasks[0].speed or 0.0) * examples_per_step
                description = f'{title}, {skipped} steps skipped' if skipped else title
                progress.update(task, advance=1, loss=loss, rate=rate, description=description)

            yield advance

    def track(self, items: Iterable[Item], count: int, title: str) -> Iterator[Item]:
        """The items, with a progress bar that shows their rate and is removed at the end."""
        columns = (
            rich.progress.TextColumn('{task.description}'),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn('{task.fields[rate]:.2g}/s'),
            rich.progress.TimeRemainingColumn(),
        )
        title = rich.markup.escape(title)  # a path may contain brackets
        with self._progress(columns) as progress:
            task = progress.add_task(title, total=count, rate=0.0)
            for item in items:
                yield item
                progress.update(task, advance=1, rate=progress.tasks[0].speed or 0.0)

    def _progress(self, columns: Sequence[rich.progress.ProgressColumn]) -> rich.progress.Progress:
        return rich.progress.Progress(
            *columns, console=self._console, transient=True, disable=not self._shows_bars
        )

    @property
    def _shows_bars(self) -> bool:
        return self._console.is_terminal and not self._quiet

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def _as_text(value: Any) -> str:
    """Numbers with three significant digits and thousands separators; '' for None."""
    if isinstance(value, int):
        return f'{value:,}'
    if isinstance(value, float):
        return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'
    return '' if value is None else value
