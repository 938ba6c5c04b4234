"""The operations of a training step that take longest, from a trace."""

import collections
import glob
import gzip
import json
import os

import jax

from bodycomp_jax.benchmark.cases import Row, Training
from bodycomp_jax.benchmark.hlo import Program
from bodycomp_jax.errors import RunError

OPERATIONS = 10  # rows of a profile


def profile(training: Training, folder: str, steps: int) -> list[Row]:
    """Writes a trace of training steps into a folder.

    Returns:
      A row for each of the ten operations that take longest, over all devices: 'operation',
      'milliseconds' per step, 'share' of all operations, and 'computes', its source in the model.

    Raises RunError if the trace contains no operations.
    """
    jax.block_until_ready(training.step(training.batch))
    with jax.profiler.trace(folder):
        for _ in range(steps):
            result = training.step(training.batch)
        jax.block_until_ready(result)
    microseconds = operation_microseconds(folder)
    if not microseconds:
        raise RunError(
            f'{folder}: the trace contains no operations. If a GPU runs the step as one graph, '
            'set XLA_FLAGS=--xla_gpu_enable_command_buffer= before the command'
        )
    program = Program(training.text)
    sources = {each.name: each.source for each in program.instructions()}
    return [
        {
            'operation': operation,
            'milliseconds': duration / 1e3 / steps,
            'share': duration / microseconds.total(),
            'computes': sources.get(operation, ''),
        }
        for operation, duration in microseconds.most_common(OPERATIONS)
    ]


def operation_microseconds(folder: str) -> collections.Counter[str]:
    """The total duration of each operation in the latest trace of a folder."""
    pattern = os.path.join(glob.escape(folder), 'plugins/profile/*/*.trace.json.gz')
    with gzip.open(max(glob.glob(pattern), key=os.path.getmtime)) as file:
        events = json.load(file)['traceEvents']
    microseconds: collections.Counter[str] = collections.Counter()
    for event in events:
        if 'hlo_op' in event.get('args', {}):
            microseconds[event['args']['hlo_op']] += event['dur']
    return microseconds
