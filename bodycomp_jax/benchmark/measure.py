"""Measures training and prediction: speed, the costliest operations, and communication."""

import collections
import contextlib
import dataclasses
import functools
import glob
import gzip
import itertools
import json
import os
import re
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.benchmark import roofline
from bodycomp_jax.benchmark.costs import ConvolutionCost, densenet_costs, unet_costs
from bodycomp_jax.config import (
    DENSENET_SIDE,
    DenseNetConfig,
    SegmentationConfig,
    SliceSelectionConfig,
    TrainerConfig,
    UNetConfig,
    check_positive,
    option,
)
from bodycomp_jax.data import phantom, segmentation, slice_selection
from bodycomp_jax.data.batches import ReadAhead, training_batches
from bodycomp_jax.data.dataset import Dataset
from bodycomp_jax.data.segmentation_files import open_files
from bodycomp_jax.data.slice_selection_files import list_split
from bodycomp_jax.errors import InputError, RunError
from bodycomp_jax.inference.load import PREDICTORS
from bodycomp_jax.runtime.devices import peak_memory, program_memory
from bodycomp_jax.runtime.versions import versions
from bodycomp_jax.training import data_parallel
from bodycomp_jax.training.device_batches import cached_batches, streamed_batches
from bodycomp_jax.training.state import initial_state, num_parameters
from bodycomp_jax.training.step import train_step
from bodycomp_jax.training.stop_signals import stop_flags
from bodycomp_jax.training.tasks.segmentation import segmentation_task
from bodycomp_jax.training.tasks.slice_selection import slice_selection_task
from bodycomp_jax.training.tasks.task import Task

PHANTOMS = 4  # different slices
MIN_READ_STEPS = 64  # per window of reading: many more than the batches that are read ahead
OPERATIONS = 10  # rows of a profile
ELEMENT_BYTES = {'f32': 4, 'bf16': 2, 'f16': 2, 's32': 4, 'u32': 4, 'pred': 1}

Row = dict[str, Any]
NetworkCase = tuple[Dataset, Task, list[ConvolutionCost]]  # what is measured of one kind of network


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What is measured, and on how much data. Raises InputError for invalid values."""

    collectives: bool = option(
        False,
        'count what a training step sends between devices, instead of timing',
        group='Benchmark',
    )
    profile: str | None = option(
        None,
        'write a trace of a few training steps into this folder and print the ten operations '
        'that take longest, instead of timing',
        group='Benchmark',
    )
    json: bool = option(False, 'print one line of JSON instead of a table', group='Benchmark')
    image_size: int = option(512, 'pixels on each side of a slice', group='Benchmark')
    steps: int = option(10, 'steps per timed window', group='Benchmark')
    windows: int = option(5, 'timed windows; their median is reported', group='Benchmark')
    slices: int = option(256, 'slices in the dataset', group='Benchmark')
    num_gpus: int | None = option(
        None,
        'number of devices of this machine to use; counts TPU cores and CPU devices as well '
        '(default: all)',
        group='Devices',
        short='g',
    )

    def __post_init__(self) -> None:
        check_positive(self, 'image_size', 'steps', 'windows', 'slices')


@dataclasses.dataclass(frozen=True)
class Case:
    """A trainer with a dataset of phantoms.

    Attributes:
      bench, config: the settings of the benchmark and of the training.
      dataset: phantoms in files.
      task: of the trainer.
      costs: of every convolution of the network.
      devices: to train on.
    """

    bench: BenchmarkConfig
    config: TrainerConfig
    dataset: Dataset
    task: Task
    costs: list[ConvolutionCost]
    devices: Sequence[jax.Device]

    def one_batch(self) -> dict[str, np.ndarray]:
        """A batch on the host."""
        return self.dataset.read(np.arange(self.config.batch_size))

    def batches(self, read: Callable[[np.ndarray], Any]) -> Iterator[Any]:
        """Batches without end, read ahead by `read(rows)` in the order of a training."""
        n, size = len(self.dataset), self.config.batch_size

        def rows():
            for epoch in itertools.count(1):
                yield from training_batches(n, size, n // size, self.config.seed, epoch)

        return iter(ReadAhead(read, rows()))

    def seconds(self, run: Callable[[], Any], min_steps: int = 1) -> list[float]:
        """Seconds of one run, in each window."""
        steps = max(self.bench.steps, min_steps)
        return roofline.time_windows(run, self.bench.windows, steps)


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


def measure(
    bench: BenchmarkConfig, config: TrainerConfig, devices: Sequence[jax.Device]
) -> tuple[Row, list[Row]]:
    """Measures a trainer.

    Returns:
      ({property of the measurement: text or number}, rows with the same keys).

    Raises InputError for settings that do not fit the network, the batch or the devices.
    """
    if bench.collectives and len(devices) < 2:
        raise InputError(
            'invalid --collectives: one device sends nothing; set JAX_PLATFORMS=cpu '
            'JAX_NUM_CPU_DEVICES=8 NPROC=16 before the command for eight virtual devices'
        )
    with prepared(bench, config, devices) as case:
        about, training = _about(case), Training(case)
        if bench.collectives:
            return about, collectives(case, training)
        if bench.profile is not None:
            return about, profile(training, bench.profile, bench.steps)
        rates, rows = speeds(case, training)
        return about | rates, rows


def _about(case):
    return {
        'network': case.config.network.kind,
        'devices': f'{len(case.devices)} x {case.devices[0].device_kind}',
        'compute_dtype': case.task.model.dtype.name,
        'batch_size': case.config.batch_size,
        'image_size': case.bench.image_size,
        'versions': versions(),
    }


@contextlib.contextmanager
def prepared(
    bench: BenchmarkConfig, config: TrainerConfig, devices: Sequence[jax.Device]
) -> Iterator[Case]:
    """A `Case` whose dataset exists for the duration of the block."""
    if bench.slices < config.batch_size:
        raise InputError(
            f'invalid --slices={bench.slices}: use at least one batch, {config.batch_size}'
        )
    drawn = [phantom.draw_slice(seed, bench.image_size) for seed in range(PHANTOMS)]
    slices = itertools.islice(itertools.cycle(drawn), bench.slices)
    with tempfile.TemporaryDirectory(prefix='bodycomp_benchmark_') as folder:
        dataset, task, costs = NETWORK_CASES[config.network.kind](config, folder, slices, devices)
        yield Case(bench, config, dataset, task, costs, devices)


def _segmentation(
    config: SegmentationConfig,
    folder: str,
    slices: Iterable[tuple[np.ndarray, np.ndarray]],
    devices: Sequence[jax.Device],
) -> NetworkCase:
    network = config.network
    segmentation.write_split(folder, 'train', slices)
    dataset = segmentation.SegmentationSet(*open_files(folder, 'train'), network.tissues)
    side = dataset.image_shape[0]
    if side % network.size_divisor:
        raise InputError(
            f'invalid --image_size={side}: slices cannot be halved often enough; use a multiple '
            f'of {network.size_divisor}'
        )
    task = segmentation_task(config, devices=devices, steps_per_epoch=1)
    return dataset, task, unet_costs(network, side)


def _slice_selection(
    config: SliceSelectionConfig,
    folder: str,
    slices: Iterable[tuple[np.ndarray, np.ndarray]],
    devices: Sequence[jax.Device],
) -> NetworkCase:
    levels = config.network.levels
    images = [ct.window(hu).round().astype(np.uint8) for hu, _ in slices]
    offsets = dict.fromkeys(levels, np.zeros(len(images)))
    slice_selection.write_split(folder, 'train', images, offsets)
    dataset = slice_selection.SliceSelectionSet(
        list_split(folder, 'train', levels, check_values=False),
        is_training=True,
        cache_dir=folder,
        track=lambda items, count, title: items,
        check_values=False,
    )
    dataset.validate()  # decodes the slices
    task = slice_selection_task(config, devices=devices, steps_per_epoch=1, val_set=dataset)
    return dataset, task, densenet_costs(config.network, DENSENET_SIDE)


NETWORK_CASES: dict[str, Callable[..., NetworkCase]] = {
    UNetConfig.kind: _segmentation,
    DenseNetConfig.kind: _slice_selection,
}


class Training:
    """The training step, compiled as for training, and the state that it updates.

    Attributes:
      compiled: the step.
      state: a `TrainState`.
      batch: a batch on the devices.
    """

    def __init__(self, case: Case):
        task, devices = case.task, case.devices
        state = initial_state(task, case.dataset.image_shape)
        self.state = data_parallel.replicate(state, devices)
        self.batch = data_parallel.shard_batch(case.one_batch(), devices)
        self._stop_flags = data_parallel.on_each_device(stop_flags(None), devices)
        step = functools.partial(train_step, task)
        program = data_parallel.pmap_step(step, devices, donate_state=True)
        self.compiled = program.lower(self.state, (self.batch, self._stop_flags)).compile()

    def step(self, batch: dict[str, jax.Array]) -> dict[str, Any]:
        """One step; returns its result without waiting for it."""
        self.state, result = self.compiled(self.state, (batch, self._stop_flags))
        return result


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
    work = roofline.training_work(
        case.costs,
        size / len(devices),
        case.task.model.dtype,
        num_parameters(training.state.variables),
        _nbytes(training.batch) / len(devices),
    )
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
        _nbytes((uploaded, program.out_info)),
    )
    memory, _ = program_memory(program, case.devices)
    on_device = case.seconds(lambda: program(model.variables, uploaded))
    hu = slices
    if slices.dtype == np.uint8:  # grey values; `model` maps HU to them
        hu = slices.astype(np.int16) + (ct.WINDOW_CENTRE - ct.WINDOW_WIDTH // 2)
    return [
        Mode('predict, one batch on the device', on_device, work, memory),
        Mode('predict, from host to host', case.seconds(lambda: model(hu)), work),
    ]


def _reading_mode(case):
    batches = case.batches(case.dataset.read)
    seconds = case.seconds(lambda: next(batches), MIN_READ_STEPS)
    return Mode('read', seconds, roofline.reading_work(_nbytes(case.one_batch())))


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
    sources = dict(re.findall(r'%([\w.-]+) = .*?op_name="([^"]*)"', training.compiled.as_text()))
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
    pattern = os.path.join(folder, 'plugins/profile/*/*.trace.json.gz')
    with gzip.open(max(glob.glob(pattern), key=os.path.getmtime)) as file:
        events = json.load(file)['traceEvents']
    microseconds: collections.Counter[str] = collections.Counter()
    for event in events:
        if 'hlo_op' in event.get('args', {}):
            microseconds[event['args']['hlo_op']] += event['dur']
    return microseconds


def collectives(case: Case, training: Training) -> list[Row]:
    """Compares what a training step sends between devices with the least for equal results.

    That is: the gradients once, the loss sums once, and for each batch norm the mean and mean
    square in the forward pass and their gradients in the backward pass, one batch norm after
    another.

    Returns:
      rows of 'what', 'collectives' and 'bytes'.
    """
    sent = _sent_by(training.compiled.as_text())
    least = _least_sent(case.task, training.state, case.one_batch())
    rows = [
        ('the compiled step', len(sent), sum(sent)),
        ('its largest collective', 1, max(sent)),
        ('least', sum(n for _, n, _ in least), sum(size for _, _, size in least)),
        *((f'least: {what}', n, size) for what, n, size in least),
    ]
    return [dict(zip(('what', 'collectives', 'bytes'), row, strict=True)) for row in rows]


def _sent_by(program):
    """Bytes of each collective of a compiled program."""
    types = re.findall(
        r'= (.+?) (?:all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)'
        r'(?:-start)?\(',
        program,
    )
    return [_bytes_of(xla_type) for xla_type in types]


def _least_sent(task, state, batch):
    """(what, collectives, bytes) of each purpose."""

    def loss_sums():
        outputs = task.model.apply(state.variables, task.preprocess(batch['image']))
        return task.loss_sums(outputs, batch)

    norms = len(jax.tree.leaves(state.batch_stats)) // 2  # each has a mean and a variance
    return [
        ('gradients', 1, _nbytes(state.params)),
        ('loss sums', 1, _nbytes(jax.eval_shape(loss_sums))),
        ('batch statistics', 2 * norms, 2 * _nbytes(state.batch_stats)),
    ]


def _nbytes(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _bytes_of(xla_type):
    """Of all arrays in a type such as '(f32[3]{0}, f32[3,3,1,16]{3,2,1,0})'."""
    arrays = re.findall(r'([a-z]+\d*)\[([\d,]*)\]', xla_type)
    return sum(
        ELEMENT_BYTES[kind] * int(np.prod([int(n) for n in dims.split(',') if n]))
        for kind, dims in arrays
    )
