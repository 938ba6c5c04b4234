"""What XLA says of a training step that it compiles for devices that are not there.

Nothing runs. Cycles are XLA's estimates, bytes are the sizes of what its instructions read and
write: they compare programs, not devices.
"""

import jax
import numpy as np

from bodycomp_jax.benchmark.cases import Case, Row
from bodycomp_jax.benchmark.hlo import Execution, Program
from bodycomp_jax.benchmark.targets import TARGETS
from bodycomp_jax.errors import RunError
from bodycomp_jax.training.state import initial_state
from bodycomp_jax.training.stop_signals import stop_flags

INSTRUCTIONS = 10  # rows of a report
OPTIONS_WITHOUT_DEVICE = {  # by platform
    'gpu': {
        'xla_gpu_autotune_level': '0',  # there is nothing to time candidates on
        'xla_backend_optimization_level': '0',  # compiles faster, to the same kernels
    },
}


def ahead_of_time(case: Case, target: str) -> tuple[Row, list[Row]]:
    """Compiles the training step for the devices of a case.

    Args:
      case: its devices are `absent_devices` of the target.
      target: its name.

    Returns:
      ({number: value} for a device and a step, a row for each of the ten costliest instructions).
      Megabytes and gigabytes are powers of ten.

    Raises RunError if XLA cannot compile the step.
    """
    state = jax.eval_shape(lambda: initial_state(case.task, case.dataset.image_shape))
    compiled = _compile(case, target, state)
    program = Program(compiled.as_text())
    runs = list(program.executions())
    numbers = _traffic(case, state, runs) | _needs(compiled, program)
    if case.devices[0].platform == 'tpu':
        numbers |= _of_tpu(compiled, runs, TARGETS[target].hertz)
    else:
        numbers |= _of_gpu(program, runs)
    costliest = sorted(runs, key=lambda run: (run.cycles, run.tiled), reverse=True)
    return numbers, [_row(run) for run in costliest[:INSTRUCTIONS]]


def _compile(case, target, state):
    devices = len(case.devices)

    def sharded(array):
        return jax.ShapeDtypeStruct((devices, *array.shape), array.dtype)

    rows = np.zeros(case.config.batch_size // devices, int)
    inputs = jax.tree.map(sharded, (case.dataset.read(rows), stop_flags(None)))
    lowered = case.lower_step(state, inputs)
    try:
        return lowered.compile(OPTIONS_WITHOUT_DEVICE.get(case.devices[0].platform))
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise RunError(
            f'--ahead_of_time={target}: XLA cannot compile the training step ({reason}); if it '
            'needs too much memory, use a smaller --batch_size'
        ) from error


def _traffic(case, state, runs):
    work = case.training_work(state)
    tiled = sum(run.tiled for run in runs)
    return {
        'least_gflop': work.operations / 1e9,
        'gbyte': sum(run.bytes for run in runs) / 1e9,
        'tiled_gbyte': tiled / 1e9,
        'least_gbyte': work.bytes / 1e9,
        'least_fraction': work.bytes / tiled,
    }


def _needs(compiled, program):
    memory, sent = compiled.memory_analysis(), program.sent()
    return {
        'argument_megabytes': memory.argument_size_in_bytes / 1e6,
        'temporary_megabytes': memory.temp_size_in_bytes / 1e6,
        'collectives': len(sent),
        'collective_megabytes': sum(sent) / 1e6,
        'gathers': sum(each.opcode == 'gather' for each in program.instructions()),
    }


def _of_tpu(compiled, runs, hertz):
    cycles = sum(run.cycles for run in runs)
    return {
        'gflop': compiled.cost_analysis()['flops'] / 1e9,
        'million_cycles': cycles / 1e6,
        'milliseconds': 1e3 * cycles / hertz,
    }


def _of_gpu(program, runs):
    return {
        'kernels': sum(run.times for run in runs),
        'cudnn_calls': sum(run.times for run in runs if run.instruction.is_cudnn),
        'largest_window': max(each.window for each in program.instructions()),
    }


def _row(run: Execution) -> Row:
    return {
        'instruction': run.instruction.name,
        'times': run.times,
        'million_cycles': run.cycles / 1e6 or None,
        'gbyte': run.bytes / 1e9,
        'tiled_gbyte': run.tiled / 1e9,
        'makes': run.instruction.type,
        'computes': run.instruction.source,
    }
