"""One pass over the slices, for all candidates; a killed run continues."""

import base64
import concurrent.futures
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from bodycomp_jax.data.batches import ReadAhead
from bodycomp_jax.errors import InputError
from bodycomp_jax.evaluation.candidates import BATCH, Answers, Candidate
from bodycomp_jax.evaluation.study import Part, Study
from bodycomp_jax.runtime import journal
from bodycomp_jax.runtime.terminal import Terminal
from bodycomp_jax.training.evaluate import one_behind

Batches = Iterator[tuple[np.ndarray, Mapping[str, np.ndarray], list[np.ndarray]]]


def measure(
    study: Study,
    candidates: Sequence[Candidate],
    devices: Sequence[jax.Device],
    *,
    output_dir: str,
    options: Mapping[str, Any],
    terminal: Terminal,
) -> np.ndarray:
    """The numbers of all slices, `[N, M, study.num_numbers]`.

    Args:
      study: with the slices.
      candidates: the M that are compared.
      devices: to predict on.
      output_dir: in which each batch is noted once it is measured.
      options: that decide the numbers.
      terminal: shows the progress.

    Raises InputError if other options have decided the numbers that are noted; RunError if the
    data change.
    """
    done = journal.read_done(output_dir, options)
    found = []
    with journal.appending(output_dir, journal.WHOLE, options) as note:
        for number, part in enumerate(study.parts):
            numbers = np.full((len(part.dataset), len(candidates), study.num_numbers), np.nan)
            todo = []
            for start in range(0, len(numbers), BATCH):
                known = done.get(_name(number, start))
                of_batch = numbers[start : start + BATCH]
                if known is None:
                    todo.append(np.arange(start, start + len(of_batch)))
                else:
                    of_batch[:] = _from_text(known, of_batch.shape, output_dir)
            measured = _measured(study, part, candidates, devices, todo) if todo else iter(())
            for rows, of_rows in terminal.track(measured, len(todo), _title(part)):
                numbers[rows] = of_rows
                note(_name(number, int(rows[0])), [_as_text(of_rows)])
            for dataset in (part.dataset, *part.readers):
                dataset.refuse_changes()
            found.append(numbers)
    return np.concatenate(found)


def answered(
    part: Part,
    candidates: Sequence[Candidate],
    devices: Sequence[jax.Device],
    batches: Sequence[np.ndarray],
) -> Batches:
    """(rows, their slices, what each candidate says) of batches of rows of a part.

    The devices work on the next batch while this one is used.
    """
    answers = Answers(candidates, part, devices)

    def computed() -> Iterator[Any]:
        for rows, batch in zip(batches, ReadAhead(part.dataset.read, batches), strict=True):
            yield rows, batch, answers(batch['image'], rows)

    return one_behind(computed())


def _measured(
    study: Study,
    part: Part,
    candidates: Sequence[Candidate],
    devices: Sequence[jax.Device],
    todo: Sequence[np.ndarray],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, their numbers) of each batch; slices are measured on all cores."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        for rows, batch, answers in answered(part, candidates, devices, todo):

            def of_slice(i: int, rows=rows, batch=batch, answers=answers) -> np.ndarray:
                one = slice(i, i + 1)
                images = {name: array[one] for name, array in batch.items()}
                return study.measure(part, rows[one], images, [each[one] for each in answers])

            yield rows, np.concatenate(list(threads.map(of_slice, range(len(rows)))))


def _name(part: int, start: int) -> str:
    return f'part {part}, slices from {start}'


def _title(part: Part) -> str:
    return 'slices' if part.fold is None else f'slices of fold {part.fold}'


def _as_text(numbers: np.ndarray) -> str:
    """To the bit, NaN included."""
    return base64.b64encode(numbers.astype('<f8').tobytes()).decode()


def _from_text(rows: list[Any], shape: tuple[int, ...], output_dir: str) -> np.ndarray:
    """The inverse of `_as_text`. Raises InputError for what it did not write."""
    try:
        (text,) = rows
        return np.frombuffer(base64.b64decode(text, validate=True), '<f8').reshape(shape)
    except (TypeError, ValueError) as error:
        raise InputError(
            f'{os.path.join(output_dir, journal.FOLDER)}: not what this program wrote ({error}); '
            '--overwrite begins again'
        ) from error
