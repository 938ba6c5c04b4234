"""Results of what is done, such as each series, in files that are only appended to.

A killed run, and each part of a job that shares the work, leaves what it has done.
"""

import contextlib
import glob
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import explained, open_regular_file, replacing
from bodycomp_jax.runtime.folders import locked

FOLDER, FILE = 'journal', 'rows.jsonl'
WHOLE = '1-of-1'  # the only part of a job that does not share the work


def forget(output_dir: str) -> None:
    """Removes what was done."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(os.path.join(output_dir, FOLDER))


def read_done(output_dir: str, options: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{name: rows} of what is done, by all parts of a job.

    Args:
      output_dir: of the run.
      options: that decide the rows, and what identifies the networks and tables that do.

    Raises InputError if others have decided them, and for files that cannot be read.
    """
    done: dict[str, list[Any]] = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(output_dir), FOLDER, '*', FILE))):
        done |= _read(path, options)
    return done


@contextlib.contextmanager
def appending(
    output_dir: str, part: str, options: Mapping[str, Any]
) -> Iterator[Callable[[str, list[Any]], None]]:
    """Yields a function that notes a name and its rows, which then are on disk.

    Args:
      output_dir: of the run.
      part: of the job, which names the folder of the file.
      options: that decide the rows.

    Raises InputError if another process does the same part, and as `read_done`.
    """
    os.makedirs(os.path.join(output_dir, FOLDER), exist_ok=True)
    folder = os.path.join(output_dir, FOLDER, part)
    path = os.path.join(folder, FILE)
    with locked(folder, output_dir):
        done = _read(path, options) if os.path.exists(path) else {}
        with replacing(path) as file:  # without a line that a killed run left unfinished
            file.write(_line({'options': dict(options)}))
            file.writelines(_line({'name': name, 'rows': rows}) for name, rows in done.items())
        with open(path, 'a') as file:

            def note(name: str, rows: list[Any]) -> None:
                file.write(_line({'name': name, 'rows': rows}))
                file.flush()
                os.fsync(file.fileno())

            yield note


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, allow_nan=False) + '\n'


def _entry(line: str) -> Any:
    """What a line says; names that all lines repeat are in memory once."""
    return json.loads(
        line, object_pairs_hook=lambda pairs: {sys.intern(name): value for name, value in pairs}
    )


def _read(path: str, options: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{name: rows} of a file. Raises InputError for other options."""
    try:
        with open(open_regular_file(path), encoding='utf-8') as file:
            entries = [_entry(line) for line in file if line.endswith('\n')]
        first, *others = entries or [{'options': dict(options)}]
        begun = first['options']
        changed = next((name for name in options if begun.get(name) != options[name]), None)
        done = {entry['name']: list(entry['rows']) for entry in others}
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({explained(error, "")})') from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f'{path}: not what this program wrote ({error}); --overwrite begins again'
        ) from error
    if changed is not None:
        raise InputError(
            f'{path}: was begun with {changed}={begun.get(changed)!r}, not {options[changed]!r}; '
            'choose another output folder, or begin again with --overwrite'
        )
    return done
