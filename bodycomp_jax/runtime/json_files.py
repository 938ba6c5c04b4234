"""JSON files, also those that others may have written."""

import json
from collections.abc import Mapping
from typing import Any

from bodycomp_jax.errors import InputError
from bodycomp_jax.runtime.files import explained, open_regular_file, replacing

MAX_BYTES = 1 << 24


def read_json_object(path: str) -> dict[str, Any]:
    """The object in a JSON file. Raises InputError for anything else."""
    fd = open_regular_file(path)
    try:
        with open(fd, 'rb') as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({explained(error, "")})') from error
    if len(text) > MAX_BYTES:
        raise InputError(f'{path}: larger than {MAX_BYTES >> 20} MiB; give a smaller file')
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path}: not readable as JSON ({error}); write it again') from error
    if not isinstance(content, dict):
        raise InputError(f'{path}: not a JSON object, but {type(content).__name__}; write it again')
    return content


def write_json(path: str, content: Mapping[str, Any], *, finite: bool = True) -> None:
    """Writes an object, whole or not at all.

    Args:
      path: of the file.
      content: of plain values.
      finite: whether numbers that are not finite raise a ValueError; readers other than Python's
        know none.
    """
    with replacing(path) as file:
        json.dump(content, file, indent=2, allow_nan=not finite)
        file.write('\n')
