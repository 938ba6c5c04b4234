"""Agreement between the processes of a job.

All run the same program. Each computes on its own devices; only the main process, process 0,
accesses the run folder.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, ParamSpec, TypeVar

import jax
import numpy as np
from flax import serialization
from jax.experimental import multihost_utils

from bodycomp_jax.errors import InputError, RunError, on_all_processes
from bodycomp_jax.runtime.files import explained
from bodycomp_jax.runtime.job import is_alone, is_main_process

LOST = ('Gloo', 'NCCL', 'UNAVAILABLE', 'DEADLINE_EXCEEDED')  # in the errors of JAX: no answer

P = ParamSpec('P')
R = TypeVar('R')


def on_main_process(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: calls `function` in the main process; its result, or error, is that of all.

    All processes must call it. `function` returns None, or nested dicts and lists of arrays and
    JSON values. Its InputError or RunError is raised in every process, an OSError as RunError.
    """

    @functools.wraps(function)
    def on_all(*args: P.args, **kwargs: P.kwargs) -> R:
        if is_alone():
            return function(*args, **kwargs)
        outcome: dict[str, Any] = {'result': None, 'error': None}
        if is_main_process():
            try:
                outcome['result'] = function(*args, **kwargs)
            except (InputError, RunError, OSError) as error:
                outcome['error'] = _as_fields(error)
        outcome = _broadcast(outcome)
        if outcome['error'] is not None:
            _raise_on_all(*outcome['error'])
        return outcome['result']

    return on_all


@contextlib.contextmanager
def sync_errors() -> Iterator[None]:
    """A block whose InputError or RunError in one process is raised in every process.

    OSErrors become RunErrors. The block must not communicate: no `on_main_process`, `sync_errors`
    or `refuse_differences` inside.
    """
    if is_alone():
        yield
        return
    error = None
    try:
        yield
    except (InputError, RunError, OSError) as caught:
        error = _as_fields(caught)
    for i, fields in enumerate(_gather(error)):
        if fields is not None:
            kind, message = fields
            _raise_on_all(kind, message if i == 0 else f'process {i}: {message}')


def refuse_differences(**values: Any) -> None:
    """Raises InputError in every process if one has other JSON values than the main process."""
    if is_alone():
        return
    main, *others = _gather(values)
    for i, other in enumerate(others, start=1):
        for name in values:
            if other[name] != main[name]:
                message = (
                    f'process {i} has different {name} from process 0; start every process with '
                    'the same command, on the same data'
                )
                raise on_all_processes(InputError(message))


@contextlib.contextmanager
def lost_process_errors() -> Iterator[None]:
    """A block that raises RunError if another process of the job no longer answers."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if is_alone() or not any(sign in str(error) for sign in LOST):
            raise
        raise RunError(
            'another process of the job did not answer, most likely because it ended '
            f'({str(error).splitlines()[0]}); see what it printed, then run the same command again'
        ) from error


def _as_fields(error: Exception) -> list[str]:
    message = explained(error) if isinstance(error, OSError) else str(error)
    return ['InputError' if isinstance(error, InputError) else 'RunError', message]


def _raise_on_all(kind: str, message: str) -> NoReturn:
    """Raises the error that `_as_fields` described, in every process."""
    if kind == 'InputError':
        raise on_all_processes(InputError(message))
    raise on_all_processes(RunError(message))


def _broadcast(value: Any) -> Any:
    """The value of the main process, in every process; as bytes, so that every bit is kept."""
    message = _as_bytes(value)
    with lost_process_errors():
        size = int(multihost_utils.broadcast_one_to_all(np.int32(len(message))))
        message = message if is_main_process() else np.zeros(size, np.uint8)
        received = multihost_utils.broadcast_one_to_all(message)
    return _from_bytes(received)


def _gather(value: Any) -> list[Any]:
    """The values of all processes, in their order."""
    message = _as_bytes(value)
    with lost_process_errors():
        sizes = multihost_utils.process_allgather(np.int32(len(message)))
        padded = np.zeros(sizes.max(), np.uint8)
        padded[: len(message)] = message
        rows = multihost_utils.process_allgather(padded)
    return [_from_bytes(row[:size]) for row, size in zip(rows, sizes, strict=True)]


def _as_bytes(value: Any) -> np.ndarray:
    return np.frombuffer(serialization.msgpack_serialize(value), np.uint8)


def _from_bytes(message: Any) -> Any:
    return serialization.msgpack_restore(np.asarray(message).tobytes())
