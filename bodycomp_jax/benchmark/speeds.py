"""Times training, prediction and reading."""

import statistics
from typing import NamedTuple

import jax
import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.benchmark import roofline
from bodycomp_jax.benchmark.cases import Case, Row, Training, nbytes
from bodycomp_jax.inference.load import PREDICTORS
from bodycomp_jax.runtime.devices import peak_memory, program_memory
from bodycomp_jax.training import data_parallel
from bodycomp_jax.training.device_batches import cached_batches, streamed_batches
from bodycomp_jax.training.state import num_parameters

MIN_READ_STEPS = 64  # per window of reading: many more than the batches that are read ahead


class Mode(NamedTuple):
    """A timed way to use a network, or a part of it."""

    what: str
    seconds: list[float]  # of a step, in each window
    work: roofline.Work
    memory: int | None = None  # bytes per device that the program needs

    def row(self, batch_size: int, rates: roofline.Rates) -> Row:
        """The reported numbers; None where there is nothing to report."""
        median = statistics.median(self.seconds)
        return {
            'what': self.what,
            'images_per_second': batch_size / median,
            'slowest': batch_size / max(self.seconds),
            'fastest': batch_size / min(self.seconds),
            'milliseconds': 1e3 * median,
            'gflop': self.work.operations / 1e9,
            'least_gbyte': self.work.bytes / 1e9,
            'roofline_fraction': rates.least_seconds(self.work) / median,
            'device_megabytes': None if self.memory is None else self.memory / 1e6,
        }


def speeds(case: Case, training: Training) -> tuple[dict[str, float], list[Row]]:
    """Times training, prediction and reading.

    Returns:
      ({measured rate: number; on GPU and TPU also the peak memory of the first mode},
       a `Mode.row` per mode; work and memory of one device or, for reading, of the host).
    """
    size, windows, steps = case.config.batch_size, case.bench.windows, case.bench.steps
    trained, peak = _training_modes(case, training)
    predicted = _prediction_modes(case, training.state.variables)
    reading = _reading_mode(case)
    device = roofline.device_rates(case.task.model.dtype, windows, steps)
    host = roofline.host_rates(windows, steps)
    rates = {
        'matrix_gflop_per_second': device.operations / 1e9,
        'copy_gbyte_per_second': device.bytes / 1e9,
        'host_copy_gbyte_per_second': host.bytes / 1e9,
    }
    if peak is not None:
        rates['training_megabytes_in_use'] = peak / 1e6
    rows = [mode.row(size, device) for mode in (*trained, *predicted)]
    return rates, [*rows, reading.row(size, host)]


def _training_modes(case, training):
    """(a `Mode` per source of batches, the peak memory of the first; None on CPU)."""
    devices, size = case.devices, case.config.batch_size
    work = case.training_work(training.state)
    memory, _ = program_memory(training.compiled, devices)
    on_device = case.seconds(lambda: training.step(training.batch))
    peak = peak_memory()  # before the other modes need memory

    def timed_with(make_batches):
        batches = case.batches(make_batches(case.dataset, size, devices))
        return case.seconds(lambda: training.step(next(batches)))

    seconds = {
        'train, one batch on the device': on_device,
        'train, streamed': timed_with(streamed_batches),
        'train, set cached on the devices': timed_with(cached_batches),
    }
    return [Mode(what, of_step, work, memory) for what, of_step in seconds.items()], peak


def _prediction_modes(case, variables):
    network, dtype = case.config.network, case.task.model.dtype
    model = PREDICTORS[network.kind]([(network, data_parallel.on_one_device(variables))], dtype)
    slices = case.one_batch()['image']
    uploaded = jax.device_put(slices)
    program = model.program.lower(model.variables, uploaded).compile()
    work = roofline.prediction_work(
        case.costs,
        len(slices),
        dtype,
        num_parameters(variables),
        nbytes((uploaded, program.out_info)),
    )
    memory, _ = program_memory(program, case.devices)
    on_device = case.seconds(lambda: program(model.variables, uploaded))
    hu = slices
    if slices.dtype == np.uint8:  # grey values; `model` maps HU to them
        hu = ct.unwindow(slices).round().astype(np.int16)
    return [
        Mode('predict, one batch on the device', on_device, work, memory),
        Mode('predict, from host to host', case.seconds(lambda: model(hu)), work),
    ]


def _reading_mode(case):
    batches = case.batches(case.dataset.read)
    seconds = case.seconds(lambda: next(batches), MIN_READ_STEPS)
    return Mode('read', seconds, roofline.reading_work(nbytes(case.one_batch())))
