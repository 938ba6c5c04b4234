"""What training and prediction cost: measured, and against the least they could."""

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
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from bodycomp_jax import ct
from bodycomp_jax.benchmark import roofline
from bodycomp_jax.config import BenchmarkConfig, SegmentationConfig, SliceSelectionConfig
from bodycomp_jax.data import png
from bodycomp_jax.data.batches import ReadAhead, training_batches
from bodycomp_jax.data.phantom import slices
from bodycomp_jax.data.segmentation import SegmentationSet
from bodycomp_jax.data.slice_selection import SliceSelectionSet, write_split
from bodycomp_jax.errors import InputError, WorkError
from bodycomp_jax.inference.predictors import predictor
from bodycomp_jax.models import densenet, unet
from bodycomp_jax.training import data_parallel, device_batches, metrics_log, train
from bodycomp_jax.training.state import initial_state, num_parameters
from bodycomp_jax.training.stop_signals import vote
from bodycomp_jax.training.tasks import segmentation, slice_selection
from bodycomp_jax.training.tasks.task import Task

DRAWN = 4  # different phantoms
READ_STEPS = 64  # at least, in a window of reading: many beside the batches read ahead
ELEMENT_BYTES = {'f32': 4, 'bf16': 2, 'f16': 2, 's32': 4, 'u32': 4, 'pred': 1}


class Subject(NamedTuple):
    """What is measured of one trainer."""

    task: Callable  # config, devices, a dataset -> its `Task`
    write: Callable  # folder, config, `[N, H, W]` HU, `[N, H, W]` labels -> a dataset of them
    costs: Callable  # config, side -> a `ConvolutionCost` for each convolution
    side: Callable  # side of the slices in files -> side that the network sees


@dataclasses.dataclass(frozen=True)
class Case:
    """A trainer with a set of phantoms, and how it is measured."""

    bench: BenchmarkConfig
    config: SegmentationConfig | SliceSelectionConfig
    task: Task
    costs: list  # a `ConvolutionCost` for each convolution of the network
    dataset: SegmentationSet | SliceSelectionSet
    devices: list

    def one_batch(self):
        """As the host reads it."""
        return self.dataset.read(np.arange(self.config.batch_size))

    def batches(self, read):
        """What `read` makes of the rows of each batch, read ahead, epoch after epoch, no end."""
        n, size = len(self.dataset), self.config.batch_size

        def keys():
            for epoch in itertools.count(1):
                for rows in training_batches(n, size, n // size, self.config.seed, epoch):
                    yield (rows,)

        return iter(ReadAhead(read, keys()))

    def seconds(self, run, steps=None):
        """Of one run, in each window."""
        return roofline.seconds(run, self.bench.windows, steps or self.bench.steps)


class Mode(NamedTuple):
    """One way to use a network, or a part of it."""

    what: str
    seconds: list[float]  # of a step, in each window
    work: roofline.Work
    memory: int | None = None  # bytes that the program needs on a device

    def row(self, batch_size, rates):
        """What is reported, with the floor that `rates` set; None where there is nothing to say."""
        median = statistics.median(self.seconds)
        return {
            'what': self.what,
            'images_per_second': batch_size / median,
            'slowest': batch_size / max(self.seconds),
            'fastest': batch_size / min(self.seconds),
            'milliseconds': 1e3 * median,
            'gflop': self.work.operations / 1e9,
            'least_gbyte': self.work.bytes / 1e9,
            'share_of_floor': rates.floor(self.work) / median,
            'device_megabytes': None if self.memory is None else self.memory / 1e6,
        }


def measure(bench, config, devices):
    """What `bench`, a `BenchmarkConfig`, asks for, of the trainer that `config` is for.

    Returns:
      ({what describes the measurement: text or number}, rows with the same keys).
    """
    with prepared(bench, config, devices) as case:
        about = _about(case)
        if bench.collectives:
            return about, collectives(case)
        if bench.profile is not None:
            return about, profile(case)
        rates, rows = speeds(case)
        return about | rates, rows


def _about(case):
    return {
        'network': case.config.network,
        'devices': f'{len(case.devices)} x {case.devices[0].device_kind}',
        'compute_dtype': case.task.model.dtype.name,
        'batch_size': case.config.batch_size,
        'image_size': case.bench.image_size,
        'versions': metrics_log.versions(),
    }


@contextlib.contextmanager
def prepared(bench, config, devices):
    """A `Case` with its phantoms in files, for as long as the block lasts."""
    if bench.slices < config.batch_size:
        raise InputError(f'--slices: {bench.slices} are fewer than one batch, {config.batch_size}')
    subject = SUBJECTS[type(config)]
    drawn = zip(*(slices.draw(i, bench.image_size) for i in range(DRAWN)), strict=True)
    shape = (bench.slices, bench.image_size, bench.image_size)
    hu, labels = (np.resize(np.stack(slices), shape) for slices in drawn)
    with tempfile.TemporaryDirectory(prefix='bodycomp_benchmark_') as folder:
        dataset = subject.write(folder, config, hu, labels)
        yield Case(
            bench=bench,
            config=config,
            task=subject.task(config, devices, dataset),
            costs=subject.costs(config, subject.side(bench.image_size)),
            dataset=dataset,
            devices=devices,
        )


def _write_npy(folder, config, hu, labels):
    side = hu.shape[1]
    if side % config.size_divisor:
        raise InputError(
            f'--image_size: slices of {side} x {side} cannot be halved often enough; use a '
            f'multiple of {config.size_divisor}'
        )
    for kind, array in (('images', hu), ('masks', labels)):
        np.save(os.path.join(folder, f'train_{kind}.npy'), array)
    return SegmentationSet(folder, 'train', config.tissues)


def _write_png(folder, config, hu, _):
    offsets = np.zeros((len(hu), len(config.levels)))
    grey = ct.window(hu.astype(np.float32)).round().astype(np.uint8)
    write_split(folder, 'train', grey, dict(zip(config.levels, offsets.T, strict=True)))
    dataset = SliceSelectionSet(folder, 'train', config.levels)
    dataset.decode(folder, lambda items, count, title: items)
    return dataset


SUBJECTS = {
    SegmentationConfig: Subject(
        task=lambda config, devices, _: segmentation.task(
            config, devices=devices, steps_per_epoch=1
        ),
        write=_write_npy,
        costs=unet.convolution_costs,
        side=lambda side: side,
    ),
    SliceSelectionConfig: Subject(
        task=lambda config, devices, dataset: slice_selection.task(
            config, devices=devices, steps_per_epoch=1, val_set=dataset
        ),
        write=_write_png,
        costs=densenet.convolution_costs,
        side=lambda side: png.SIDE,
    ),
}


class Training:
    """The training step as `train` compiles it, and a state that it moves on.

    Attributes:
      compiled: the step.
      state: a `TrainState`.
      batch: what it was compiled for, on the devices.
    """

    def __init__(self, case):
        devices, batch = case.devices, case.one_batch()
        self.state = data_parallel.replicate(
            initial_state(case.task, batch['image'].shape[1:]), devices
        )
        self.batch = data_parallel.split(batch, devices)
        self._votes = data_parallel.on_each_device(vote(None), devices)
        step = functools.partial(train.train_step, case.task)
        program = data_parallel.parallel(step, devices, donate_state=True)
        self.compiled = program.lower(self.state, self.batch, self._votes).compile()

    def step(self, batch):
        """One step; returns its loss sums, which may not be there yet."""
        (self.state, sums), _ = self.compiled(self.state, batch, self._votes)
        return sums


def speeds(case):
    """How fast training, prediction and reading are.

    Returns:
      ({measured rate, or the most memory in use after the first mode, where devices say: number},
       rows as of `Mode`; work and memory are those of one device, for reading of the host).
    """
    size, windows, steps = case.config.batch_size, case.bench.windows, case.bench.steps
    training = Training(case)
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
    """(each `Mode`, the most bytes in use after the first of them, None on a CPU)."""
    devices, size = case.devices, case.config.batch_size
    work = roofline.training_work(
        case.costs,
        size / len(devices),
        case.task.model.dtype,
        num_parameters(training.state.variables),
        _nbytes(training.batch) / len(devices),
    )
    memory, _ = data_parallel.memory(training.compiled, devices)
    alone = case.seconds(lambda: training.step(training.batch))
    peak = data_parallel.peak_memory()  # before what other modes need is there

    def fed_by(make):
        batches = case.batches(make(case.dataset, size, devices))
        return case.seconds(lambda: training.step(next(batches)))

    seconds = {
        'train, one batch on the device': alone,
        'train, streamed': fed_by(device_batches.reader),
        'train, set kept on the device': fed_by(device_batches.keeper),
    }
    return [Mode(what, of_step, work, memory) for what, of_step in seconds.items()], peak


def _prediction_modes(case, variables):
    dtype = case.task.model.dtype
    model = predictor(case.config, data_parallel.on_one_device(variables), dtype)
    slices = case.one_batch()['image']
    there = jax.device_put(slices)
    program = model.program.lower(model.variables, there).compile()
    work = roofline.prediction_work(
        case.costs,
        len(slices),
        dtype,
        num_parameters(model.variables),
        _nbytes((there, program.out_info)),
    )
    memory, _ = data_parallel.memory(program, case.devices)
    on_device = case.seconds(lambda: program(model.variables, there))
    return [
        Mode('predict, one batch on the device', on_device, work, memory),
        Mode('predict, from host to host', case.seconds(lambda: model(slices)), work),
    ]


def _reading_mode(case):
    batches = case.batches(case.dataset.read)
    seconds = case.seconds(lambda: next(batches), max(case.bench.steps, READ_STEPS))
    return Mode('read', seconds, roofline.reading_work(_nbytes(case.one_batch())))


def profile(case):
    """Writes a trace of one window of training steps into `--profile`.

    Returns:
      rows {'operation', 'milliseconds' a step, 'share' of all operations, 'computes'} of the ten
      that take longest, over all devices.

    Raises WorkError where the trace names no operations.
    """
    folder, steps = case.bench.profile, case.bench.steps
    training = Training(case)
    jax.block_until_ready(training.step(training.batch))
    with jax.profiler.trace(folder):
        for _ in range(steps):
            sums = training.step(training.batch)
        jax.block_until_ready(sums)
    microseconds = _microseconds_of_operations(folder)
    if not microseconds:
        raise WorkError(
            f'{folder}: the trace names no operations. On a GPU that runs the step as one graph '
            'they are seen with XLA_FLAGS=--xla_gpu_enable_command_buffer= before the command'
        )
    sources = dict(re.findall(r'%([\w.-]+) = .*?op_name="([^"]*)"', training.compiled.as_text()))
    return [
        {
            'operation': operation,
            'milliseconds': time_taken / 1e3 / steps,
            'share': time_taken / microseconds.total(),
            'computes': sources.get(operation, ''),
        }
        for operation, time_taken in microseconds.most_common(10)
    ]


def _microseconds_of_operations(folder):
    """In the latest trace."""
    pattern = os.path.join(folder, 'plugins/profile/*/*.trace.json.gz')
    with gzip.open(max(glob.glob(pattern), key=os.path.getmtime)) as file:
        events = json.load(file)['traceEvents']
    microseconds = collections.Counter()
    for event in events:
        if 'hlo_op' in event.get('args', {}):
            microseconds[event['args']['hlo_op']] += event['dur']
    return microseconds


def collectives(case):
    """What a training step sends between devices, and the least it could.

    The least that gives equal results on any number of devices: the gradients once, the loss
    sums once, and for each batch norm mean and mean square on the way forward and their gradients
    on the way back, one batch norm after another.

    Returns:
      rows {'what', 'collectives', 'bytes'}.

    Raises InputError for one device.
    """
    if len(case.devices) < 2:
        raise InputError(
            '--collectives: one device sends nothing; JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=8 '
            'NPROC=16 before the command makes eight'
        )
    training = Training(case)
    task, state, batch = case.task, training.state, case.one_batch()
    found = re.findall(
        r'= (.+?) (?:all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)'
        r'(?:-start)?\(',
        training.compiled.as_text(),
    )
    sizes = [_bytes_of(shapes) for shapes in found]
    outputs = jax.eval_shape(lambda: task.model.apply(state.variables, task.inputs(batch['image'])))
    loss_sums = jax.eval_shape(task.loss_sums, outputs, batch)
    norms = len([name for name in _names(state.batch_stats) if 'mean' in name])
    least = [
        ('gradients', 1, _nbytes(state.params)),
        ('loss sums', 1, _nbytes(loss_sums)),
        ('batch statistics', 2 * norms, 2 * _nbytes(state.batch_stats)),
    ]
    rows = [
        ('the compiled step', len(sizes), sum(sizes)),
        ('its largest collective', 1, max(sizes)),
        ('least', sum(n for _, n, _ in least), sum(size for _, _, size in least)),
        *((f'least: {what}', n, size) for what, n, size in least),
    ]
    return [dict(zip(('what', 'collectives', 'bytes'), row, strict=True)) for row in rows]


def _names(tree):
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _nbytes(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _bytes_of(shapes):
    """Of all arrays in an XLA type such as '(f32[3]{0}, f32[3,3,1,16]{3,2,1,0})'."""
    arrays = re.findall(r'([a-z]+\d*)\[([\d,]*)\]', shapes)
    return sum(
        ELEMENT_BYTES[kind] * int(np.prod([int(n) for n in dims.split(',') if n]))
        for kind, dims in arrays
    )
